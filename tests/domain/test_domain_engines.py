"""Engines: their ids, addresses and states."""

from __future__ import annotations

import pytest

from flm.domain.engines import (
    Address,
    ApiError,
    Degraded,
    Healthy,
    InstalledOnly,
    NetworkError,
    engine_address,
    engine_id,
    serves,
    state_name,
)
from flm.errors import InvalidValue


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://127.0.0.1:8080/v1", Address("127.0.0.1", 8080)),
        ("http://localhost:8080", Address("127.0.0.1", 8080)),
        ("127.0.0.1:8080", Address("127.0.0.1", 8080)),
        ("http://127.0.0.1", Address("127.0.0.1", 80)),
        ("http://[::1]:1234/v1/", Address("::1", 1234)),
        ("http://0.0.0.0:11434", Address("127.0.0.1", 11434)),
        ("http://127.0.0.1:9/engines/v1", Address("127.0.0.1", 9, "/engines")),
        ("http://Box.LAN:11434", Address("box.lan", 11434)),
        ("box:11434", Address("box", 11434)),
        ("192.168.1.2", Address("192.168.1.2", 80)),
        ("https://box.example/v1", Address("box.example", 443, tls=True)),
        ("https://[fd00::1]:8443/llm/v1", Address("fd00::1", 8443, "/llm", tls=True)),
    ],
)
def test_a_url_is_an_address(url: str, address: Address):
    """`/v1` is the API's own; a wildcard is where servers listen, not where clients connect."""
    assert engine_address(url) == address


def test_a_ca_file_goes_with_https_only():
    """Without TLS there is nothing to verify."""
    assert engine_address("https://box", "/ca.pem") == Address("box", 443, "", True, "/ca.pem")
    with pytest.raises(InvalidValue):
        engine_address("http://box", "/ca.pem")


@pytest.mark.parametrize(
    "url",
    [
        "", "http://", "ftp://127.0.0.1", "http://127.0.0.1:99999", "http://127.0.0.1:0",
        "http://a b", "http://10.1", "http://0x7f.1", "http://2130706433", "http://box/?key=1",
        "http://box/#x", "http://box/a b", "http://-box", "http://b\u00f6x", "http://box:x",
    ],
)  # fmt: skip
def test_what_is_no_url_is_refused(url: str):
    """With an example of one that would be right."""
    with pytest.raises(InvalidValue) as refused:
        engine_address(url)
    assert "http://127.0.0.1:8080/v1" in refused.value.remedy


@pytest.mark.parametrize("url", ["http://a:b@127.0.0.1", "https://key@box", "http://:sekret@box"])
def test_a_url_with_a_password_is_refused_and_not_repeated(url: str):
    """The message must not carry the secret into a log."""
    with pytest.raises(InvalidValue) as refused:
        engine_address(url)
    assert "--api-key-stdin" in refused.value.remedy
    assert "sekret" not in str(refused.value)


def test_an_address_is_a_url_again():
    """IPv6 in brackets."""
    assert Address("::1", 8080, "/x").url == "http://[::1]:8080/x"


@pytest.mark.parametrize("text", ["", "A", "a/b", "flm", "-a", "a b", "あ", "a" * 64])
def test_what_cannot_be_an_engines_name_is_refused(text: str):
    """No slash, for `engine/name` is a model; not `flm`, which is FLM itself."""
    with pytest.raises(InvalidValue):
        engine_id(text)


def test_states_have_the_products_words():
    """And only an engine that answers is served."""
    states = [
        InstalledOnly(), Healthy(1.0), Degraded(2.0, "slow"), NetworkError("refused", 1),
        ApiError("needs_key"),
    ]  # fmt: skip
    assert [state_name(state) for state in states] == [
        "installed-only", "running-healthy", "running-degraded", "error-network", "error-api",
    ]  # fmt: skip
    assert [serves(state) for state in states] == [False, True, True, False, False]
