"""Where an engine's name may not lead, and what is said of a redirect."""

from __future__ import annotations

import pytest

from flm.domain.addresses import (
    LEADS_HERE,
    LEADS_NOWHERE,
    LEADS_TO_METADATA,
    destination,
    forbidden,
    is_address,
)

HERE = ("127.0.0.1", "127.0.1.1", "127.255.255.254", "::1", "::ffff:127.0.0.1")
METADATA = ("169.254.169.254", "fd00:ec2::254", "::ffff:169.254.169.254", "100.100.100.200")
NOWHERE = ("0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255")
ANYWHERE = (
    "10.0.0.7",
    "192.168.1.9",
    "172.16.0.1",
    "100.64.0.1",
    "8.8.8.8",
    "fd12::1",
    "2001:db8::1",
)


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        *((each, LEADS_HERE) for each in HERE),
        *((each, LEADS_TO_METADATA) for each in METADATA),
        *((each, LEADS_NOWHERE) for each in NOWHERE),
        *((each, "") for each in ANYWHERE),
    ],
)
def test_a_name_may_lead_to_other_machines_only(address: str, reason: str) -> None:
    """Loopback, also inside IPv6, and where clouds keep credentials are refused."""
    assert forbidden(address) == reason


@pytest.mark.parametrize(
    ("host", "told"),
    [("127.0.0.1", True), ("::1", True), ("box.example", False), ("1.2.3", False), ("", False)],
)
def test_an_address_is_no_name(host: str, told: bool) -> None:
    """Nobody needs to look it up."""
    assert is_address(host) is told


@pytest.mark.parametrize(
    ("location", "told"),
    [
        ("https://other.example/v1/models", "https://other.example/v1/models"),
        ("https://user:secret@other.example:8443/?token=secret#x", "https://other.example:8443"),
        ("//other.example", "http://other.example"),
        ("/v1/models/", "/v1/models/"),
        ("/", "/"),
        ("https://[2001:db8::1]:9/", "https://[2001:db8::1]:9"),
        ("\x1b[31mhttps://x/\x07", "[31mhttps://x/"),
        ("https://[", "another URL"),
        ("", "another URL"),
        ("https://x.example/" + "a" * 500, "https://x.example/" + "a" * 82),
    ],
)
def test_a_redirect_is_named_without_what_is_secret_in_it(location: str, told: str) -> None:
    """Neither user nor query, nothing that a terminal obeys, and not without end."""
    assert destination(location) == told
