"""Where a llama-server listens on this machine, and whose child it is."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from collections.abc import Callable, Mapping

import msgspec

from flm.domain.engines import Address
from flm.engines.answers import answered, decoded
from flm.ports.engines import Probe, Prober

PORTS = (8080, 9931)
"""The default until summer 2026, and since."""

LOOPBACK = ("127.0.0.1", "::1")
PROPS_LIMIT = 1 << 20

PARENTS = frozenset(
    {
        "ollama", "ollama app", "lms", "lm studio", "lm-studio", "llmster", "lemond", "lemonade",
        "lemonade-server", "jan", "com.docker.backend", "com.docker.llama-server", "dmr",
        "docker-model", "docker-model-plugin", "model-runner", "llama-server", "llama",
        "llama-swap",
    }
)  # fmt: skip
"""Programs whose llama-servers are their own business: they are reached through them."""

Ancestors = Callable[[Address], tuple[tuple[int, str], ...]]
"""Pid and name of what listens at an address and of the processes above it; () if unknown."""


class Fault(msgspec.Struct):
    """The `error` object of llama.cpp."""

    type: str = ""
    message: str = ""


class Refused(msgspec.Struct):
    """An error answer of llama.cpp."""

    error: Fault


class Identity(msgspec.Struct):
    """What tells llama.cpp's `/props` from those of its look-alikes."""

    build_info: str


def candidates(environment: Mapping[str, str]) -> tuple[Address, ...]:
    """The port in `LLAMA_CPP_PORT`, then 8080 and 9931, each on both loopback addresses."""
    told = environment.get("LLAMA_CPP_PORT", "").strip()
    own = (int(told),) if re.fullmatch("[0-9]{1,5}", told) and 0 < int(told) <= 65_535 else ()
    ports = dict.fromkeys((*own, *PORTS))
    return tuple(Address(host, port) for port in ports for host in LOOPBACK)


async def recognise(prober: Prober, address: Address, ancestors: Ancestors) -> bool:
    """Whether a llama-server listens there that is nobody's child."""
    props = await prober.get(address, "/props", limit=PROPS_LIMIT)
    if not is_llamacpp(props):
        return False
    return not is_child(await asyncio.to_thread(ancestors, address), os.getpid())


def is_llamacpp(props: Probe) -> bool:
    """By `build_info` in `/props`; while it loads or is locked, by its error and its name."""
    if props.status in (401, 503):
        refused = decoded(props.body, Refused)
        kinds = ("authentication_error", "unavailable_error")
        named = props.headers.get("server") == "llama.cpp"
        return named and refused is not None and refused.error.type in kinds
    return answered(props, Identity) is not None


def is_loading(probe: Probe) -> bool:
    """Whether a 503 says that the model is still being loaded."""
    refused = decoded(probe.body, Refused) if probe.status == 503 else None
    return refused is not None and refused.error.type == "unavailable_error"


def is_child(chain: tuple[tuple[int, str], ...], own_pid: int) -> bool:
    """Whether the first process of `chain` was started by another engine, or by us."""
    above = chain[1:]
    names = {name.lower().removesuffix(".exe") for _, name in above}
    return bool(names & PARENTS) or own_pid in {pid for pid, _ in above}


def ancestors(address: Address) -> tuple[tuple[int, str], ...]:
    """The process that listens at `address` and those above it, by psutil (imported here).

    Other users' processes, and on macOS all without root, cannot be known: ().
    """
    import psutil

    try:
        listening = psutil.net_connections("tcp")
        pid = next(
            each.pid
            for each in listening
            if each.status == psutil.CONN_LISTEN and each.pid and each.laddr.port == address.port
        )
        process = psutil.Process(pid)
        return tuple((each.pid, each.name()) for each in (process, *process.parents()))
    except (psutil.Error, OSError, StopIteration):
        return ()


def installed() -> str | None:
    """The path of `llama-server`, or of the newer `llama`, else None."""
    return shutil.which("llama-server")
