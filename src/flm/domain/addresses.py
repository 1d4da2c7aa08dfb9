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
