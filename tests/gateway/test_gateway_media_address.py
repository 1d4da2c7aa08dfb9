"""Which URLs of images are read, and which addresses are public."""

from __future__ import annotations

import pytest

from flm.domain.addresses import is_public
from flm.errors import Refusal
from flm.gateway.media_address import Place, place_of

PORTS = frozenset({80, 443})


@pytest.mark.parametrize(
    ("url", "place", "authority"),
    [
        ("https://a.example/x.png", Place(True, "a.example", 443, "/x.png"), "a.example"),
        ("HTTP://A.Example:80", Place(False, "a.example", 80, "/"), "a.example"),
        ("http://a.example:443/?q=1#frag", Place(False, "a.example", 443, "/?q=1"),
         "a.example:443"),
        ("https://a.example?q=/../", Place(True, "a.example", 443, "/?q=/../"), "a.example"),
        ("https://a.example./x", Place(True, "a.example", 443, "/x"), "a.example"),
        ("https://93.184.215.14/x", Place(True, "93.184.215.14", 443, "/x"), "93.184.215.14"),
        ("https://[2606:2800::0001]/x", Place(True, "2606:2800::1", 443, "/x"), "[2606:2800::1]"),
        ("https://x_y.example/%E7%8C%AB.png?a=@b", Place(True, "x_y.example", 443,
         "/%E7%8C%AB.png?a=@b"), "x_y.example"),
    ],
)  # fmt: skip
def test_a_plain_url_is_read(url: str, place: Place, authority: str) -> None:
    """Scheme and host in any case; the fragment is nobody's."""
    assert place_of(url, PORTS, "p") == place
    assert place.authority == authority


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a.example/x", "file:///etc/passwd", "//a.example/x", "https:/a.example", "https://",
        "https://user@a.example/x", "https://user:pass@a.example/x", "https://a.example@evil/x",
        "https://a.example:8080/x", "https://a.example:22/", "https://a.example:0/", "https://:80/",
        "https://a.example:99999/", "https://a.example:/x", "https://a.example\\@evil/x",
        "https://a.example/\r\nX: y", "https://a example/x", "https://猫.example/x", "https://a.example/猫",
        "https://127.1/x", "https://0177.0.0.1/x", "https://2130706433/x", "https://0x7f000001/x",
        "https://0x7f.1/x", "https://127.0.0.01/x", "https://1.2.3.4.5/x", "https://..a/x",
        "https://-a.example/x", "https://a..b/x", "https://./x", "https://[::1/x",
        "https://[fe80::1%25eth0]/x", "https://[::g]/x", "https://a.example%00.evil/x",
        "https://a.example;b/x", "https://a.example&b/x", " https://a.example/x",
    ],
)  # fmt: skip
def test_anything_else_is_refused(url: str) -> None:
    """Credentials, ports, other spellings of addresses: no two parsers may disagree."""
    with pytest.raises(Refusal) as caught:
        place_of(url, PORTS, "messages[0]")
    assert (caught.value.status, caught.value.code, caught.value.param) == (
        400, "unsupported_image_url", "messages[0]",
    )  # fmt: skip


@pytest.mark.parametrize("address", ["93.184.215.14", "1.1.1.1", "8.8.8.8", "2606:4700::1111"])
def test_ordinary_addresses_are_public(address: str) -> None:
    """Of either version."""
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.1.2.3", "172.16.0.1",
        "172.31.255.255", "192.168.0.1", "169.254.169.254", "169.254.170.2", "100.64.0.1",
        "100.100.100.200", "100.127.255.255", "192.0.0.1", "192.0.0.192", "192.0.2.1",
        "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "192.88.99.1", "224.0.0.1",
        "239.255.255.255", "240.0.0.1", "255.255.255.255", "168.63.129.16",
        "::", "::1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::8.8.8.8", "64:ff9b::808:808",
        "64:ff9b:1::1", "100::1", "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:10::1",
        "2001:db8::1", "2002:7f00:1::", "2002:808:808::1", "3fff::1", "5f00::1", "fc00::1",
        "fd00:ec2::254", "fd20:ce::254", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1",
        "2606:4700::1111%eth0", "4000::1", "", "a.example", "8.8.8", "8.8.8.8/32", "134744072",
    ],
)  # fmt: skip
def test_special_addresses_are_not(address: str) -> None:
    """This machine, its networks, clouds' metadata, and what carries another address inside."""
    assert not is_public(address)
