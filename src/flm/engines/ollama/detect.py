"""Where an Ollama listens on this machine, and what tells it from its many emulators."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from flm.domain.engines import Address
from flm.engines.answers import answered
from flm.ports.engines import Probe, Prober

PORT = 11434
LOOPBACK = ("127.0.0.1", "::1")

EMULATED_VERSIONS = frozenset({"0.7.0", "0.1.0", "1.0.0"})
"""What KoboldCpp, Docker Model Runner and FastFlowLM answer to `/api/version`."""

_PLACES: Mapping[str, tuple[str, ...]] = {
    "darwin": ("/Applications/Ollama.app/Contents/Resources/ollama",),
    "linux": ("/usr/local/bin/ollama", "/usr/bin/ollama"),
    "win32": ("~/AppData/Local/Programs/Ollama/ollama.exe",),
}

_GREETING = b"Ollama is running"
_SEMVER = re.compile(r"\d+\.\d+\.\d+\b")


class Version(msgspec.Struct):
    """`/api/version`."""

    version: str


class _Running(msgspec.Struct):
    models: list[msgspec.Raw]


class _LocalAi(msgspec.Struct):
    version: str


class _FastFlowLm(msgspec.Struct):
    npu_available: bool


def candidates(environment: Mapping[str, str]) -> tuple[Address, ...]:
    """The address in `OLLAMA_HOST`, as Ollama itself reads it, then the usual port."""
    usual = tuple(Address(host, PORT) for host in LOOPBACK)
    return tuple(dict.fromkeys((*addresses_in(environment.get("OLLAMA_HOST", "")), *usual)))


def addresses_in(variable: str) -> tuple[Address, ...]:
    """The addresses on this machine that `OLLAMA_HOST` names, () for other hosts and HTTPS.

    Ollama's `envconfig.Host`: quotes and blanks around it do not count; without a scheme the
    port is 11434, with `http://` it is 80; a port that is none is replaced by that default;
    where it listens on all addresses, clients use loopback.
    """
    text = variable.strip().strip("\"'").strip()
    scheme, mark, rest = text.partition("://")
    if not text or (mark and scheme != "http"):
        return ()
    default = 80 if mark else PORT
    place, _, path = (rest if mark else text).partition("/")
    host, port = _split(place, default)
    prefix = f"/{path.rstrip('/')}" if path.rstrip("/") else ""
    return tuple(Address(each, port, prefix) for each in _local(host))


def _split(place: str, default: int) -> tuple[str, int]:
    """Host and port of `host`, `host:port`, `[v6]:port`, `:port` or a bare IPv6 address."""
    bare = place.strip("[]")
    if _is_ip(bare) or ":" not in place:
        return bare, default
    host, _, port = place.rpartition(":")
    number = int(port) if re.fullmatch("[0-9]{1,5}", port) else default
    return host.strip("[]"), number if 0 < number <= 65_535 else default


def _local(host: str) -> tuple[str, ...]:
    if host in ("", "localhost", "0.0.0.0", "::"):  # noqa: S104 - what it listens on, not we
        return LOOPBACK
    return (host,) if _is_ip(host) and ipaddress.ip_address(host).is_loopback else ()


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


async def recognise(prober: Prober, address: Address) -> bool:
    """Whether a real Ollama listens there. Five GETs at once."""
    paths = ("/", "/api/version", "/api/ps", "/.well-known/localai.json", "/api/npu/status")
    return is_ollama(*await asyncio.gather(*(prober.get(address, path) for path in paths)))


def is_ollama(root: Probe, version: Probe, running: Probe, localai: Probe, npu: Probe) -> bool:
    """The bodies of `/`, `/api/version`, `/api/ps` and what only emulators serve."""
    told = answered(version, Version)
    return (
        root.status == 200
        and root.body.strip() == _GREETING
        and told is not None
        and _SEMVER.match(told.version) is not None
        and told.version not in EMULATED_VERSIONS
        and answered(running, _Running) is not None
        and answered(localai, _LocalAi) is None
        and answered(npu, _FastFlowLm) is None
    )


def installed() -> str | None:
    """The path of the `ollama` program: on PATH, or where its installers put it."""
    found = shutil.which("ollama")
    if found is not None:
        return found
    places = (Path(place).expanduser() for place in _PLACES.get(sys.platform, ()))
    return next((str(place) for place in places if place.is_file()), None)
