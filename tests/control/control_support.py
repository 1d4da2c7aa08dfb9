"""What the controller's tests share: the fake gateway's command, snapshots, waiting for facts."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from flm import __version__
from flm.control.engine_process import EngineMeans, EngineProcess
from flm.control.gateway_process import Bound, Launch
from flm.domain.engines import EngineId
from flm.engines.prober import HttpProber
from flm.ports.clock import SystemClock
from flm.ports.engines import LaunchPlan
from flm.ports.processes import current
from flm.ports.processes.machine import LocalMachine
from flm.wire.channel import Stats, Wake
from flm.wire.snapshot import KeyEntry, Keys, Routes, Rules, Snapshot

FAKE_GATEWAY = Path(__file__).with_name("fake_gateway.py")


def fake(mode: str = "good") -> tuple[str, ...]:
    """The command of a fake gateway."""
    return (sys.executable, "-P", str(FAKE_GATEWAY), mode)


def snapshot(*keys: str, security: int = 1) -> Snapshot:
    """A snapshot with keys of those ids."""
    entries = {key: KeyEntry(key, b"d" * 32) for key in keys}
    return Snapshot(Keys(security, b"p" * 32, entries), Routes(0, {}, {}), Rules(revision=1))


def listening() -> socket.socket:
    """A bound socket on a free port."""
    return current().listen("127.0.0.1", 0, 128)


def launch(folder: Path, bound: socket.socket, mode: str = "good") -> Launch:
    """How a fake gateway is started on that socket."""
    return Launch(
        command=fake(mode),
        version=__version__,
        listeners=(Bound("api", bound),),
        journal=folder / "journal",
        output=folder / "gateway.log",
    )


async def ask(port: int, question: str = "show") -> dict[str, object]:
    """What the gateway behind `port` shows; waits in the backlog while there is none."""
    async with asyncio.timeout(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(question.encode())
        shown = json.loads(await reader.read())
        writer.close()
        await writer.wait_closed()
    return shown


async def until(fact: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait until `fact` holds; a test that waits in vain fails."""
    async with asyncio.timeout(seconds):
        while not fact():
            await asyncio.sleep(0.01)


class Heard:
    """Remembers what a gateway reported."""

    def __init__(self) -> None:
        self.stats: list[Stats] = []
        self.wakes: list[Wake] = []
        self.grew = 0
        self.ended = 0

    def stats_came(self, stats: Stats) -> None:
        self.stats.append(stats)

    def journal_grew(self) -> None:
        self.grew += 1

    def wake_wanted(self, wake: Wake) -> None:
        self.wakes.append(wake)

    def gateway_ended(self) -> None:
        self.ended += 1


class NoLauncher:
    """Starts nothing, for nothing can be started."""

    async def launch(self, engine: EngineId, plan: LaunchPlan) -> EngineProcess:
        raise AssertionError(engine)

    async def sweep(self) -> None:
        """Nothing was left."""


def no_engines() -> EngineMeans:
    """A machine on which FLM can start no engine."""
    return EngineMeans(
        adapters={},
        machine=LocalMachine({}),
        prober=HttpProber(SystemClock()),
        launcher=NoLauncher(),
    )
