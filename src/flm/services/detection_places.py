"""Where engines may listen, and whose business a listener is. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from flm.domain.engines import Address, EngineKind
from flm.ports.engines import EngineAdapter, Identity
from flm.ports.machine import Host, Listener, Machine

PORTS: tuple[int, ...] = (
    *(11434, 1234, 8080, 9931, 8000, 30000, 5000, 5001, 1337, 6767, 12434, 13305, 52625),
    *(11435, 1235, 8081, 8001, 8002, 30001, 5002),
)
"""The ports engines use unless told otherwise, then where they go when those are taken."""

LOOPBACK = ("127.0.0.1", "::1")
_EVERY = ("0.0.0.0", "::")  # noqa: S104 - what others listen on, not we

PROGRAMS: tuple[str, ...] = (
    *("ollama", "vllm", "llama-server", "llamafile", "llamafiler", "lm studio", "lm-studio"),
    *("lms", "llmster", "koboldcpp", "local-ai", "localai", "lemond", "lemonade-server"),
    *("flm", "sglang", "tabbyapi", "jan", "mlx_lm", "mlx_lm.server", "dmr", "model-runner"),
)
"""Programs whose listeners are looked at on every port: by name, or by its beginning."""

_PARENTS = frozenset(
    {
        "ollama", "ollama app", "lms", "lm studio", "lm-studio", "llmster", "lemond", "lemonade",
        "lemonade-server", "jan", "com.docker.backend", "com.docker.llama-server", "dmr",
        "docker-model", "docker-model-plugin", "model-runner", "llama-server", "llama",
        "llama-swap", "local-ai", "localai",
    }
)  # fmt: skip
"""Programs whose engines are their own business: they are reached through them."""

_FORWARDERS = frozenset(
    {"com.docker.backend", "docker-proxy", "dockerd", "rootlessport", "vpnkit", "wslrelay"}
)
"""Programs that only pass on what a container or WSL2 serves: nobody's children."""

_STARTED = frozenset({"llama.cpp", "llamafile", "vLLM", "mlx_lm", "FastFlowLM", "SGLang"})
"""What other engines start for themselves; an Ollama below its own app is the engine itself."""

_FLM = "flm"
"""What FLM's processes are called, and FastFlowLM's."""

JAN_SERVES = 6767
"""`jan serve` exposes its llama-server itself: there it is no child but the service."""


class Around(NamedTuple):
    """An address on the machine around us."""

    address: Address
    host: Host


def to_search(
    adapters: Iterable[EngineAdapter],
    machine: Machine,
    listeners: Sequence[Listener],
    ports: Sequence[int],
) -> tuple[Address, ...]:
    """Every address on this machine where an engine may listen, likeliest first, each once."""
    places: dict[Address, None] = {}
    for adapter in adapters:
        places.update(dict.fromkeys(adapter.places(machine)))
    places.update(dict.fromkeys(Address(host, port) for port in ports for host in LOOPBACK))
    for listener in listeners:
        if listener.chain and is_engine_program(listener.chain[0][1]):
            host = "127.0.0.1" if listener.host in _EVERY else listener.host
            places[Address(host, listener.port)] = None
    return tuple(places)


def around(hosts: Iterable[Host], ports: Sequence[int]) -> tuple[Around, ...]:
    """Every address on the machines around us where an engine may listen."""
    return tuple(Around(Address(host.address, port), host) for host in hosts for port in ports)


def is_engine_program(name: str) -> bool:
    """Whether a program of that name is an engine. FastFlowLM is called `flm` too: see who
    answers, nothing is run."""
    known = _plain(name)
    return known in PROGRAMS or known.startswith(("koboldcpp", "llamafile", "llama-server"))


def program_kind(name: str) -> EngineKind | None:
    """The kind of engine a program is for sure, by its name alone."""
    return "vllm" if _plain(name) == "vllm" else None


def listener_at(address: Address, listeners: Iterable[Listener]) -> Listener | None:
    """Who listens there; one on that very address goes before one on all of them."""
    own = [each for each in listeners if each.port == address.port]
    for host in (address.host, *(_EVERY if address.is_loopback else ())):
        for each in own:
            if each.host == host:
                return each
    return None


def is_child(identity: Identity, listener: Listener | None, own_pid: int) -> bool:
    """Whether another engine, or FLM itself, started what listens there."""
    chain = listener.chain if listener is not None else ()
    if not chain or listener is None:
        return False
    above = chain[1:]
    if own_pid in {pid for pid, _ in above} or _is_another_flms(identity, chain):
        return True
    if identity.product not in _STARTED or _plain(chain[0][1]) in _FORWARDERS:
        return False
    names = {_plain(name) for _, name in above} & _PARENTS
    return bool(names) and not (names == {"jan"} and listener.port == JAN_SERVES)


def _is_another_flms(identity: Identity, chain: Sequence[tuple[int, str]]) -> bool:
    """Whether an FLM of another data directory runs it: embedded, or started by it."""
    names = [_plain(name) for _, name in chain]
    return _FLM in names[1:] or (names[0] == _FLM and identity.product != "FastFlowLM")


def is_forwarder(listener: Listener) -> bool:
    """Whether it only passes on what a container or WSL2 serves."""
    return bool(listener.chain) and _plain(listener.chain[0][1]) in _FORWARDERS


def claims(address: Address) -> tuple[tuple[str, int], ...]:
    """What an address speaks for: either loopback address means both."""
    hosts = LOOPBACK if address.host in LOOPBACK else (address.host,)
    return tuple((host, address.port) for host in hosts)


def first_side(place: Address, listeners: Iterable[Listener]) -> Address | None:
    """Where the one socket of `place` usually answers too: 127.0.0.1 for [::1] when it listens
    on `::`. It may be IPv6 only, which no table tells; so see whether it does."""
    if place.host != "::1":
        return None
    hosts = {each.host for each in listeners if each.port == place.port}
    one = "::" in hosts and not hosts & {"::1", "127.0.0.1", "0.0.0.0"}  # noqa: S104
    return Address("127.0.0.1", place.port) if one else None


def _plain(name: str) -> str:
    return name.lower().removesuffix(".exe")


def own_claims(listeners: Iterable[Listener], own_pid: int) -> set[tuple[str, int]]:
    """Where this FLM serves: to ask there is to answer ourselves, and to record it.

    Whichever of its processes the table names: controller and gateway share their sockets.
    """
    return {
        (host, each.port)
        for each in listeners
        if each.chain
        and _plain(each.chain[0][1]).startswith("flm")
        and own_pid in {pid for pid, _ in each.chain[:2]}
        for host in (LOOPBACK if each.host in _EVERY else (each.host,))
    }
