"""Host headers: which names a loopback listener answers to (DNS rebinding)."""

from __future__ import annotations

import ipaddress
import re

ALWAYS = frozenset({"localhost", "host.docker.internal"})
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?\.?")
_PORT = re.compile(r"[0-9]{1,5}")


def host_name(header: str) -> str | None:
    """The host inside a Host header, lower case, without port and brackets; None if malformed.

    RFC 9110 section 7.2: `uri-host [":" port]`, where the host is a name, an IPv4 address or a
    bracketed IPv6 address; anything else (user info, paths, lists) is malformed.
    """
    if header.startswith("["):
        inner, bracket, rest = header[1:].partition("]")
        if not bracket or (rest and (rest[0] != ":" or not _PORT.fullmatch(rest[1:]))):
            return None
        try:
            return str(ipaddress.IPv6Address(inner))
        except ValueError:
            return None
    name, colon, port = header.partition(":")
    if colon and not _PORT.fullmatch(port):
        return None
    return name.lower().rstrip(".") if _NAME.fullmatch(name) else None


def host_allowed(header: str, allowed: frozenset[str]) -> bool:
    """Whether a loopback listener answers to this Host header.

    `localhost`, `host.docker.internal`, every loopback address and the names in
    `server.allowed_hosts` are; a page on the web that points its own name at 127.0.0.1 is not.
    """
    name = host_name(header)
    if name is None:
        return False
    if name in ALWAYS or name in allowed:
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
