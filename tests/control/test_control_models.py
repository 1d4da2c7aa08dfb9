"""The embedded models: what is loaded when, and that no request is lost at the edges."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from control_support import until

from flm.control.models import EmbeddedModels, Limits
from flm.control.traffic import Traffic
from flm.control.wakes import Wakes
from flm.domain.engines import Address
from flm.domain.models import GgufFile
from flm.errors import EngineError
from flm.wire.channel import Stats, TargetStats, Wake, Woken

FILES = [GgufFile(name=name, path=f"/{name}.gguf", added_at=0.0) for name in ("a", "b", "c")]


class Server:
    """A child that runs until it is stopped or crashes."""

    def __init__(self, log: list[str], name: str, pid: int) -> None:
        self.log = log
        self.name = name
        self.pid = pid
        self.address = Address("127.0.0.1", 4000 + pid)
        self.key = f"key-{pid}"
        self.context_length = 2048
        self.ended = asyncio.Event()

    async def exited(self) -> int:
        await self.ended.wait()
        return -9

    async def stop(self) -> None:
        self.log.append(f"stop {self.name}")
        self.ended.set()


class Launcher:
    """Launches at once, unless `gate` is closed or the model is `broken`."""

    def __init__(self, log: list[str]) -> None:
        self.log = log
        self.gate = asyncio.Event()
        self.gate.set()
        self.broken: set[str] = set()
        self.servers: list[Server] = []

    async def launch(self, file: GgufFile, **how: object) -> Server:
        self.log.append(f"launch {file.name}")
        await self.gate.wait()
        if file.name in self.broken:
            raise EngineError(503, "model_load_failed", "no memory")
        self.servers.append(Server(self.log, file.name, len(self.servers) + 1))
        return self.servers[-1]


class Gateway:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.stats: Stats | None = None
        self.told: list[Woken] = []

    def woken(self, message: Woken) -> None:
        self.told.append(message)

    def busy(self, **targets: tuple[int, float]) -> None:
        """In flight and last use, by model."""
        stats = {f"embedded/{name}": TargetStats(*seen) for name, seen in targets.items()}
        self.stats = Stats(targets=stats, connections=0, in_flight=0, served=0, unrecorded=0)


class Clock:
    """Time that tests own."""

    def __init__(self) -> None:
        self.time = 1000.0

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time


class World:
    """The models with everything around them."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.launcher = Launcher(self.log)
        self.gateway = Gateway()
        self.clock = Clock()
        self.traffic = Traffic(self.gateway, self.clock)
        self.models = EmbeddedModels(self.launcher, self.clock, self.traffic, self.publish)
        self.models.use(FILES, Limits())
        self.wakes = Wakes(self.gateway, self.awaken)

    async def awaken(self, wake: Wake) -> None:
        await self.models.load(wake.target.removeprefix("embedded/"), wake.deadline)

    async def stop(self) -> None:
        await self.wakes.stop()
        await self.models.stop()

    async def publish(self) -> None:
        self.log.append("publish " + ",".join(sorted(self.models.running())))

    async def wake(self, name: str, deadline: float = 30.0) -> Woken:
        """Wake a model and wait for the answer."""
        before = len(self.gateway.told)
        self.wakes.wake(Wake(f"embedded/{name}", deadline))
        await until(lambda: len(self.gateway.told) > before)
        return self.gateway.told[-1]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """A world that is put away afterwards."""
    made = World()
    yield made
    await made.stop()


async def test_a_model_is_loaded_when_it_is_wanted(world: World) -> None:
    """Launch, publish, then the answer; asked again it is there at once."""
    assert await world.wake("a") == Woken("embedded/a")
    assert world.log == ["launch a", "publish a"]
    assert world.models.running()["a"].key == "key-1"
    assert await world.wake("a") == Woken("embedded/a")
    assert world.log == ["launch a", "publish a"]


async def test_several_wakes_of_one_model_load_it_once(world: World) -> None:
    """While it loads, more requests for it wait for the same load."""
    world.launcher.gate.clear()
    for _ in range(5):
        world.wakes.wake(Wake("embedded/a", 30.0))
    await until(lambda: world.log)
    world.launcher.gate.set()
    await until(lambda: world.gateway.told)
    assert world.log == ["launch a", "publish a"]


async def test_another_model_goes_before_a_new_one_comes(world: World) -> None:
    """Withdrawn first, then stopped, then the new one is launched."""
    await world.wake("a")
    world.log.clear()
    await world.wake("b")
    assert world.log == ["publish ", "stop a", "launch b", "publish b"]


async def test_a_busy_model_is_waited_for(world: World) -> None:
    """It is withdrawn and goes on until its last request has ended."""
    await world.wake("a")
    world.log.clear()
    world.gateway.busy(a=(1, 0.0))
    world.wakes.wake(Wake("embedded/b", 30.0))
    await until(lambda: world.log)
    world.traffic.came()
    await asyncio.sleep(0)
    assert world.log == ["publish "]
    world.gateway.busy(a=(0, 0.0))
    world.traffic.came()
    await until(lambda: len(world.gateway.told) == 2)
    assert world.log == ["publish ", "stop a", "launch b", "publish b"]


async def test_a_model_that_stays_busy_serves_on(world: World) -> None:
    """Who wanted the other one hears so when its time is over."""
    await world.wake("a")
    world.log.clear()
    world.gateway.busy(a=(1, 0.0))
    answer = await world.wake("b", deadline=0.05)
    assert answer.code == "model_load_timeout"
    assert world.log == ["publish ", "publish a"]


async def test_what_is_in_flight_ends_with_its_gateway(world: World) -> None:
    """A gateway that died takes its requests along: nothing is waited for."""
    await world.wake("a")
    world.gateway.busy(a=(1, 0.0))
    world.wakes.wake(Wake("embedded/b", 30.0))
    await until(lambda: "publish " in world.log)
    world.gateway.stats = None
    world.traffic.came()
    await until(lambda: len(world.gateway.told) == 2)
    assert world.gateway.told[-1] == Woken("embedded/b")


async def test_the_idle_one_used_longest_ago_goes_first(world: World) -> None:
    """Busy ones stay while there is an idle one."""
    world.models.use(FILES, Limits(max_loaded=2))
    await world.wake("a")
    await world.wake("b")
    world.gateway.busy(a=(1, 0.0), b=(0, 2000.0))
    await world.wake("c")
    assert sorted(world.models.running()) == ["a", "c"]


async def test_a_model_nobody_asks_is_unloaded(world: World) -> None:
    """After the idle time since its last use, and not while it is busy."""
    world.models.use(FILES, Limits(idle_seconds=900.0))
    await world.wake("a")
    world.gateway.busy(a=(0, 1500.0))
    world.clock.time = 2399.0
    await world.models.tidy()
    assert sorted(world.models.running()) == ["a"]
    world.clock.time = 2400.0
    world.gateway.busy(a=(1, 1500.0))
    await world.models.tidy()
    assert sorted(world.models.running()) == ["a"]
    world.gateway.busy(a=(0, 1500.0))
    await world.models.tidy()
    assert sorted(world.models.running()) == []
    assert world.log[-2:] == ["publish ", "stop a"]
    assert await world.wake("a") == Woken("embedded/a")


async def test_a_model_that_was_used_is_not_idle_because_its_gateway_died(world: World) -> None:
    """What ran then was in use until then; what had ended keeps its time."""
    world.models.use(FILES, Limits(max_loaded=2, idle_seconds=900.0))
    await world.wake("a")
    await world.wake("b")
    world.gateway.busy(a=(1, 0.0), b=(0, 1500.0))
    world.traffic.came()
    world.clock.time = 2000.0
    world.gateway.stats = None
    world.traffic.came()
    world.gateway.busy()
    world.traffic.came()
    world.clock.time = 2399.0
    await world.models.tidy()
    assert sorted(world.models.running()) == ["a", "b"]
    world.clock.time = 2400.0
    await world.models.tidy()
    assert sorted(world.models.running()) == ["a"]
    world.clock.time = 2900.0
    await world.models.tidy()
    assert sorted(world.models.running()) == []


async def test_a_crashed_model_is_withdrawn_at_once_and_comes_back(world: World) -> None:
    """The next request that wants it loads it again, after a moment."""
    await world.wake("a")
    world.log.clear()
    world.launcher.servers[0].ended.set()
    await until(lambda: world.log)
    assert world.log == ["publish "]
    assert await world.wake("a") == Woken("embedded/a")
    assert world.models.running()["a"].key == "key-2"


async def test_a_model_that_does_not_load_says_why(world: World) -> None:
    """The engine's words and code go to who waits; another model loads as ever."""
    world.launcher.broken.add("a")
    assert await world.wake("a") == Woken("embedded/a", "no memory", "model_load_failed")
    assert await world.wake("b") == Woken("embedded/b")
    world.launcher.broken.clear()
    assert await world.wake("a") == Woken("embedded/a")


async def test_a_model_that_is_gone_cannot_be_woken(world: World) -> None:
    """Its file was removed between the request and its turn."""
    world.models.use(FILES[1:], Limits())
    assert (await world.wake("a")).code == "model_not_found"


async def test_a_model_whose_file_was_removed_is_unloaded(world: World) -> None:
    """So is one that is to have another context: the next request gets that."""
    await world.wake("a")
    world.models.use(FILES[1:], Limits())
    await until(lambda: world.log[-1] == "stop a")
    await world.wake("b")
    world.models.use(FILES[1:], Limits(contexts={"b": 4096}))
    await until(lambda: world.log[-1] == "stop b")
    assert world.models.running() == {}


async def test_a_stop_ends_every_child_and_the_loading_ones(world: World) -> None:
    """Nothing is launched after it."""
    world.models.use(FILES, Limits(max_loaded=3))
    await world.wake("a")
    await world.wake("b")
    world.launcher.gate.clear()
    world.wakes.wake(Wake("embedded/c", 30.0))
    await until(lambda: world.log[-1] == "launch c")
    await world.stop()
    assert world.log[-2:] == ["stop a", "stop b"]
    world.wakes.wake(Wake("embedded/a", 30.0))
    assert world.models.running() == {}
