"""Detection where the test listens: the real adapters and ladder, in a machine the test made up."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence

from flm.domain.engines import Address, EngineDefinition, EngineId, EngineKind, state_name
from flm.engines.fingerprint import identify
from flm.engines.prober import HttpProber
from flm.engines.registry import adapters
from flm.ports.clock import SystemClock
from flm.ports.engines import (
    EngineAdapter,
    Identity,
    Installation,
    ModelLauncher,
    Prober,
    Sighting,
)
from flm.ports.machine import Listener, Machine
from flm.services.detection import Added, Detector
from flm.services.detection_finding import Identify
from flm.services.engine_states import Thresholds
from support.machines import MadeUp
from support.replay import ReplayServer

NOWHERE = MadeUp(own_pid=1)
"""A machine with nothing on it."""


class At:
    """A real adapter that searches only where the test says."""

    def __init__(
        self, real: EngineAdapter, addresses: Sequence[Address] = (), program: str | None = None
    ) -> None:
        self._addresses = tuple(addresses)
        self._program = program
        self.kind: EngineKind = real.kind
        self.dialect = real.dialect
        self.traits = real.traits
        self.starter = real.starter
        self.keeper = real.keeper
        self.describe = real.describe
        self.load = real.load

    def places(self, machine: Machine) -> tuple[Address, ...]:
        """Where the test listens."""
        return self._addresses

    def installed(self, machine: Machine) -> Installation | None:
        """The program the test says is here."""
        return None if self._program is None else Installation(program=self._program)


def detector(
    places: Mapping[str, Sequence[Address]] | None = None,
    *,
    programs: Mapping[str, str] | None = None,
    machine: Machine = NOWHERE,
    launcher: ModelLauncher | None = None,
    seconds: float = 4.5,
    thresholds: Thresholds | None = None,
    ports: Sequence[int] = (),
    tell: Identify = identify,
) -> Detector:
    """A detector whose adapters (by kind) search at these `places` and find these `programs`."""
    clock = SystemClock()
    placed = [
        At(each, (places or {}).get(each.kind, ()), (programs or {}).get(each.kind))
        for each in adapters()
    ]
    return Detector(
        placed, HttpProber(clock), clock, tell, machine, launcher, thresholds, seconds, ports
    )


def definition(
    name: str, address: Address, kind: EngineKind | None = None, key: str | None = None
) -> Added:
    """An engine the user added; without a kind it is told by what it answers."""
    made = EngineDefinition(id=EngineId(name), kind=kind or "auto", address=address)
    return Added(made, key)


def states(sightings: Sequence[Sighting]) -> dict[str, str]:
    """The states' names by engine."""
    return {each.engine.id: state_name(each.engine.state) for each in sightings}


def closed() -> Address:
    """An address where nothing listens."""
    with ReplayServer({}) as server:
        return server.address


class Dead:
    """A socket that listens and says nothing, ever. Use it as a context manager."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = Address("127.0.0.1", int(self._socket.getsockname()[1]))

    def __enter__(self) -> Dead:
        return self

    def __exit__(self, *error: object) -> None:
        self._socket.close()


def listener(address: Address, *names: str, mark: str = "") -> Listener:
    """Who listens there: the process and those above it, nearest first."""
    chain = tuple((100 + number, name) for number, name in enumerate(names))
    return Listener(host=address.host, port=address.port, chain=chain, mark=mark)


class Ladder:
    """The real ladder, and whom it was asked about."""

    def __init__(self) -> None:
        self.asked: list[Address] = []

    async def __call__(
        self, prober: Prober, address: Address, key: str | None = None
    ) -> Identity | None:
        """Ask, and remember that."""
        self.asked.append(address)
        return await identify(prober, address, key)
