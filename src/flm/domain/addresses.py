"""Where names lead: addresses that no engine's name may mean, and what a redirect names. Pure."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from flm.errors import N_

UNKNOWN_NAME = N_("its name is not known")
LEADS_HERE = N_("its name leads back to this machine")
LEADS_TO_METADATA = N_("its name leads to the metadata service of a cloud")
LEADS_NOWHERE = N_("its name leads to no machine's address")
UNTRUSTED = N_("its certificate is not trusted")

ANOTHER_URL = N_("another URL")
"""The `destination` of a redirect that names none."""

_METADATA = frozenset(
    ipaddress.ip_address(text)
    for text in (
        *("169.254.169.254", "fd00:ec2::254", "fd20:ce::254"),  # AWS, Azure, Google
        *("169.254.170.2", "169.254.170.23", "fd00:ec2::23"),  # AWS' containers
        "100.100.100.200",  # Alibaba
    )
)
"""Where clouds hand a machine's own credentials to whoever asks from it."""

_MOST = 100

_NEAR = tuple(
    ipaddress.ip_network(text)
    for text in (
        *("127.0.0.0/8", "::1/128"),  # this machine
        *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"),  # RFC 1918, RFC 4193
        *("169.254.0.0/16", "fe80::/10"),  # the same cable
        "100.64.0.0/10",  # RFC 6598; Tailscale's
    )
)
"""Addresses that no stranger on the internet can send from."""

_SPECIAL = tuple(
    ipaddress.ip_network(text)
    for text in (
        "168.63.129.16/32",  # Azure's own services, from inside
        *("192.0.0.0/24", "192.88.99.0/24", "192.31.196.0/24", "192.52.193.0/24"),  # protocols'
        *("192.175.48.0/24", "198.18.0.0/15"),
        *("2001::/23", "2001:db8::/32", "3fff::/20"),  # Teredo and others, documentation
        *("2002::/16", "2620:4f:8000::/48"),  # 6to4, AS112
    )
)
"""Of the addresses that count as global, and of those that Python's versions judge otherwise."""

_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def is_address(host: str) -> bool:
    """Whether it is an IP address, and no name that somebody must look up."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def forbidden(address: str) -> str:
    """Why an engine's *name* may not lead to that IP address; '' when it may.

    Who controls a name controls where it leads: it must not become a way to what only this
    machine reaches (DNS rebinding). An address the user gave as such is the user's own choice;
    private networks are where engines are.
    """
    told = ipaddress.ip_address(address)
    mapped = told.ipv4_mapped if isinstance(told, ipaddress.IPv6Address) else None
    meant = mapped or told
    if meant.is_loopback:
        return LEADS_HERE
    if isinstance(meant, ipaddress.IPv6Address) and meant.scope_id:
        meant = ipaddress.IPv6Address(int(meant))
    if meant in _METADATA:
        return LEADS_TO_METADATA
    if meant.is_unspecified or meant.is_multicast or str(meant) == "255.255.255.255":
        return LEADS_NOWHERE
    return ""


def near_network(text: str) -> Network | None:
    """The address or network (`192.168.1.0/24`) in `text`, if it is this machine's or a private
    one; None for everything else: names, an interface's name behind an address, bits behind a mask.
    """
    if "%" in text:
        return None
    try:
        network = ipaddress.ip_network(text.strip())
    except ValueError:
        return None
    for near in _NEAR:
        # `subnet_of` wants both of one version.
        if isinstance(network, ipaddress.IPv4Network) and isinstance(near, ipaddress.IPv4Network):
            if network.subnet_of(near):
                return network
        elif (
            isinstance(network, ipaddress.IPv6Network)
            and isinstance(near, ipaddress.IPv6Network)
            and network.subnet_of(near)
        ):
            return network
    return None


def near_text(network: Network) -> str:
    """As it is kept and shown: a single address without its mask."""
    single = network.prefixlen == network.max_prefixlen
    return str(network.network_address) if single else str(network)


def overlap(one: str, other: str) -> bool:
    """Whether two of `near_text` have an address in common."""
    first, second = ipaddress.ip_network(one), ipaddress.ip_network(other)
    return first.version == second.version and first.overlaps(second)


def peer(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The peer of a socket as it is meant: an IPv4 address that came in IPv6's clothes is itself,
    and on which interface a link-local one is does not matter. None: no IP address.
    """
    try:
        told = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    mapped = told.ipv4_mapped if isinstance(told, ipaddress.IPv6Address) else None
    return mapped or told


def is_public(address: str) -> bool:
    """Whether it is an ordinary address of the internet, and of nothing this machine alone reaches.

    Addresses that carry another one (IPv4 in IPv6, NAT64, 6to4, Teredo) are not: what they lead to
    is decided elsewhere. False also for what is no address, or names an interface.
    """
    try:
        told = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(told, ipaddress.IPv6Address) and (
        told.scope_id is not None or told not in _GLOBAL_UNICAST
    ):
        return False
    if not told.is_global or told.is_multicast or told.is_reserved or told in _METADATA:
        return False
    return not any(told.version == each.version and told in each for each in _SPECIAL)


def destination(location: str) -> str:
    """What a redirect's `Location` names, without its query and user: nothing secret, nothing
    that a terminal would obey.
    """
    try:
        parts = urlsplit(location.strip())
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return ANOTHER_URL
    path = "" if host and parts.path == "/" else parts.path
    at = f"[{host}]" if ":" in host else host
    root = f"{parts.scheme or 'http'}://{at}" if host else ""
    text = f"{root}{f':{port}' if port else ''}{path}"
    shown = "".join(letter for letter in text if "!" <= letter <= "~")
    return shown[:_MOST] or ANOTHER_URL
