"""URLs of images that FLM may fetch: read strictly, so that no two parsers disagree. Pure."""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple

from flm.errors import Refusal

_URL = re.compile(
    r"(?P<scheme>https?)://(?:\[(?P<v6>[0-9A-Fa-f:.]{2,45})\]|(?P<host>[A-Za-z0-9_.-]{1,253}))"
    r"(?::(?P<port>[0-9]{1,5}))?(?P<target>(?:[/?][!-~]*)?)",
    re.IGNORECASE,
)
_NUMERIC = re.compile(r"[0-9]+|0x[0-9a-f]*", re.IGNORECASE)
"""The last label of what some resolvers read as an IPv4 address, and of no name (RFC 3696)."""

_DEFAULT = {"http": 80, "https": 443}


class Place(NamedTuple):
    """Where an image is. ``host``: a name or an IP address, in lower case, without brackets."""

    tls: bool
    host: str
    port: int
    target: str

    @property
    def authority(self) -> str:
        """What `Host` says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


def place_of(url: str, ports: frozenset[int], param: str) -> Place:
    """What `url` names. Raises `Refusal` 400 `unsupported_image_url` for what is not fetched:
    other schemes and ports, users and passwords, other spellings of addresses.
    """
    found = _URL.fullmatch(url.partition("#")[0])
    if found is None:
        raise _refused("it is not a plain http or https URL without user and password", param)
    scheme = found["scheme"].lower()
    port = int(found["port"]) if found["port"] else _DEFAULT[scheme]
    if port not in ports:
        listed = " and ".join(str(each) for each in sorted(ports))
        raise _refused(f"only the ports {listed} are asked", param)
    target = found["target"]
    if not target.startswith("/"):
        target = "/" + target
    return Place(scheme == "https", _host(found, param), port, target)


def _host(found: re.Match[str], param: str) -> str:
    if found["v6"]:
        try:
            return str(ipaddress.IPv6Address(found["v6"]))
        except ValueError:
            raise _refused("its address cannot be read", param) from None
    host = found["host"].lower().rstrip(".")
    if _NUMERIC.fullmatch(host.rpartition(".")[2]):
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError:
            raise _refused("its address cannot be read", param) from None
    if not host or ".." in host or host.startswith((".", "-")):
        raise _refused("its host cannot be read", param)
    return host


def _refused(why: str, param: str) -> Refusal:
    return Refusal(
        400, "unsupported_image_url", f"This URL of an image is not fetched: {why}.", param=param
    )
