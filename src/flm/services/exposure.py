"""Whether an engine can be reached around FLM, and whether its version has a known hole. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from flm.domain.engines import NEEDS_KEY, ApiError, Engine, EngineKind, Finding, serves
from flm.domain.keys import ApiKey
from flm.domain.versions import is_older
from flm.errors import N_
from flm.ports.machine import Listener
from flm.services.detection_places import is_forwarder, listener_at


class Hole(NamedTuple):
    """A published hole: versions from `since` on and before `fixed` have it."""

    cve: str
    since: str
    fixed: str


HOLES: Mapping[EngineKind, tuple[Hole, ...]] = MappingProxyType(
    {
        "ollama": (
            Hole("CVE-2026-7482", "0.0.1", "0.17.1"),  # reads the server's memory by /api/create
            Hole("CVE-2026-7020", "0.0.1", "0.20.3"),  # known in all up to 0.20.2
        ),
        "vllm": (
            Hole("CVE-2026-24779", "0.2.0", "0.14.1"),  # fetches URLs it should not
            Hole("CVE-2026-27893", "0.10.1", "0.18.0"),  # runs code of models in spite of the flag
            Hole("CVE-2026-48746", "0.3.0", "0.22.0"),  # its key can be passed by
        ),
    }
)
"""What the makers' advisories say. Builds without a version (`0.0.0`, vLLM's `0.1.dev…`) and
llama.cpp's numbers (`b9870`) cannot be judged, and are not."""

_CLOSING: Mapping[EngineKind, str] = MappingProxyType(
    {
        "ollama": N_(
            "Take OLLAMA_HOST away where Ollama is started (for its service: `systemctl edit "
            "ollama`), or switch off `Expose Ollama to the network` in its app; start it again."
        ),
        "lmstudio": N_(
            "Switch off `Serve on Local Network` in LM Studio, or start its server with "
            "`lms server start --bind 127.0.0.1`."
        ),
        "vllm": N_("Start vLLM with `--host 127.0.0.1`; without it, it listens everywhere."),
        "llamacpp": N_("Start llama-server with `--host 127.0.0.1`, and without LLAMA_ARG_HOST."),
        "text-generation-webui": N_(
            "Start text-generation-webui without `--listen` and `--public-api`."
        ),
    }
)
_OTHERWISE = N_("Have it listen on 127.0.0.1 only, or close port {port} in the firewall.")
_FORWARDED = N_(
    "Publish the container's port on this machine only, for example `-p 127.0.0.1:{port}:{port}`."
)


def exposure(
    engine: Engine, listeners: Sequence[Listener], environment: Mapping[str, str], *, inside: bool
) -> tuple[Finding, ...]:
    """The finding of an engine that other machines can reach around FLM; () of all others.

    ``listeners``: who listens on this machine; ``environment``: FLM's own, asked where those tell
    nothing; ``inside``: in a container, where to listen on every address is how it is reached.
    """
    address = engine.address
    if address is None or not _is_here(address.host, listeners):
        return ()
    listener = listener_at(address, listeners)
    opened = _opened(address.port, listener, listeners)
    if listener is None and engine.kind == "ollama":
        opened = _open_host(environment.get("OLLAMA_HOST", ""))
    if not opened:
        return ()
    forwarded = listener is not None and bool(listener.chain) and is_forwarder(listener)
    remedy = _FORWARDED if forwarded else _CLOSING.get(engine.kind, _OTHERWISE)
    wants_key = isinstance(engine.state, ApiError) and engine.state.reason == NEEDS_KEY
    return (
        Finding(
            code="exposed",
            message=N_(
                "{engine} listens on {host}, port {port}: other machines can reach it around FLM, "
                "without its keys and limits."
            ),
            remedy=remedy,
            values={"engine": engine.id, "host": opened, "port": str(address.port)},
            level="note" if inside or wants_key else "warning",
        ),
    )


def holes(engine: Engine) -> tuple[Finding, ...]:
    """The finding of a version that is known to have holes; () of all others."""
    version = engine.version
    if version is None or not serves(engine.state):
        return ()
    known = [
        hole
        for hole in HOLES.get(engine.kind, ())
        if is_older(version, hole.fixed) and not is_older(version, hole.since)
    ]
    if not known:
        return ()
    fixed = known[0].fixed
    for hole in known:
        fixed = hole.fixed if is_older(fixed, hole.fixed) else fixed
    return (
        Finding(
            code="known_hole",
            message=N_("{engine} is version {version}, which has known holes: {cves}."),
            remedy=N_("Update it to {fixed} or newer."),
            values={
                "engine": engine.id,
                "version": version,
                "cves": ", ".join(hole.cve for hole in known),
                "fixed": fixed,
            },
        ),
    )


def keyless(keys: Sequence[ApiKey]) -> tuple[Finding, ...]:
    """A note for each address whose requests need no key: by choice, and not to be forgotten."""
    return tuple(
        Finding(
            code="keyless",
            message=N_(
                "Requests from {address} need no key: they count as those of {key} ({label})."
            ),
            remedy=N_(
                "Anything that can send from there may use it: every program and every user of "
                "that machine. To end it: flm api-keys update {key} --keyless-from none"
            ),
            values={"address": key.keyless_from, "key": key.id, "label": key.label},
            level="note",
        )
        for key in keys
        if key.keyless_from and key.revoked_at is None
    )


def _opened(port: int, listener: Listener | None, listeners: Sequence[Listener]) -> str:
    """The address beyond loopback at which the process of `listener` listens; '' for none."""
    if listener is None:
        return ""
    if not _is_loopback(listener.host):
        return listener.host
    pid = listener.chain[0][0] if listener.chain else None
    for other in listeners:
        same = pid is not None and other.chain and other.chain[0][0] == pid
        if same and other.port == port and not _is_loopback(other.host):
            return other.host
    return ""


def _is_here(host: str, listeners: Sequence[Listener]) -> bool:
    return _is_loopback(host) or any(each.host == host for each in listeners)


def _is_loopback(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host == "localhost"
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _open_host(value: str) -> str:
    """The address in `OLLAMA_HOST` where that is not loopback; '' where it is, or is a name."""
    text = value.strip().partition("://")[2] or value.strip()
    host = text.partition("/")[0]
    host = host[1:].partition("]")[0] if host.startswith("[") else host.rpartition(":")[0] or host
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return ""
    return "" if address.is_loopback else host
