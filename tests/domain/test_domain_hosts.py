"""Host headers on a loopback listener."""

from __future__ import annotations

import pytest

from flm.domain.hosts import host_allowed, host_name


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("localhost", "localhost"),
        ("LOCALHOST:8356", "localhost"),
        ("localhost.", "localhost"),
        ("127.0.0.1:80", "127.0.0.1"),
        ("[::1]", "::1"),
        ("[::1]:8356", "::1"),
        ("[0:0:0:0:0:0:0:1]", "::1"),
        ("my-box.local:1", "my-box.local"),
    ],
)
def test_a_host_is_read_without_its_port(header: str, name: str):
    """RFC 9110 section 7.2: a name, an IPv4 address or a bracketed IPv6 address, then a port."""
    assert host_name(header) == name


@pytest.mark.parametrize(
    "header",
    [
        "", "x/?", "a@b", "a,b", "a b", "localhost:", "localhost:x", "localhost:123456", "[::1",
        "[::1]x", "[127.0.0.1]", "::1", "http://localhost", "local_host", "-a", "a#b", "a\\b", "é",
    ],
)  # fmt: skip
def test_anything_else_is_malformed(header: str):
    """User info, paths, lists and bare IPv6 addresses are no host."""
    assert host_name(header) is None
    assert not host_allowed(header, frozenset({header}))


@pytest.mark.parametrize(
    "header", ["localhost:8356", "127.0.0.1", "127.9.9.9:1", "[::1]:8356", "host.docker.internal"]
)
def test_loopback_names_are_always_allowed(header: str):
    """A client on this machine needs no setting."""
    assert host_allowed(header, frozenset())


@pytest.mark.parametrize(
    "header", ["evil.example", "192.168.1.5", "0.0.0.0", "localhost.evil.example", "10.0.0.1"]
)
def test_other_names_must_be_in_the_setting(header: str):
    """A page that points its own name at 127.0.0.1 sends its own name as Host."""
    assert not host_allowed(header, frozenset())
    assert host_allowed(header, frozenset({header}))
