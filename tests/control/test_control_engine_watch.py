"""The background watch: what is looked at when, and what becomes of it. The test owns the clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flm.control.engine_watch import EngineWatch, Kept
from flm.control.worker import StoreThread
from flm.domain.engines import (
    STARTING,
    Address,
    ApiError,
    Degraded,
    Engine,
    EngineId,
    EngineState,
    Healthy,
    InstalledOnly,
    NetworkError,
)
from flm.domain.models import Model
from flm.paths import data_paths, prepare
from flm.ports.engines import Sighting
from flm.services.detection_settling import Again
from flm.settings import Settings, resolve
from flm.store import SqlStore, migrate

START = 1_767_225_600.0
GOOD = Healthy(1.0)
GONE = NetworkError("connection refused", 1)


def seen(
    name: str, state: EngineState = GOOD, *, owned: bool = False, at: float = START
) -> Sighting:
    """An engine with one model."""
    engine = Engine(
        id=EngineId(name), kind="custom", state=state, address=Address("127.0.0.1", 9),
        owned=owned, checked_at=at,
    )  # fmt: skip
    return Sighting(engine, (Model(name="m", engine=EngineId(name)),))


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.time = START

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time


class Detection:
    """Finds what the test put there."""

    def __init__(self) -> None:
        self.here: list[Sighting] = []
        self.told = Again((), False)
        self.asked: list[set[str]] = []
        self.looks = 0
        self.remembered: list[tuple[Engine, Sequence[Model]]] = []

    def remember(self, cached: Any) -> None:
        self.remembered = list(cached)

    async def look(self, read: object) -> Sequence[Sighting]:
        self.looks += 1
        return self.here

    async def again(self, read: object, engines: Collection[EngineId]) -> Again:
        self.asked.append(set(engines))
        return self.told


class Runner:
    """Has started nothing."""

    def recall(self, cached: object) -> None:
        """Nothing to do."""

    async def looked(self, found: Sequence[Sighting], began: float) -> Sequence[Sighting]:
        return tuple(found)

    async def looked_again(self, found: Sequence[Sighting], engines: object) -> Sequence[Sighting]:
        return tuple(found)


class Publisher:
    """Remembers what it was told, and when it published."""

    def __init__(self) -> None:
        self.read = SimpleNamespace(settings=resolve())
        self.engines: dict[str, EngineState] = {}
        self.published = 0

    def see(self, sightings: Sequence[Sighting]) -> None:
        self.engines = {each.engine.id: each.engine.state for each in sightings}

    async def publish(self) -> None:
        self.published += 1


class Bench:
    """A watch with everything around it."""

    def __init__(self, store: SqlStore) -> None:
        self.store = store
        self.clock = Clock()
        self.detection = Detection()
        self.publisher = Publisher()
        self.thread = StoreThread()
        parts: Any = (self.detection, self.publisher, Runner())
        self.watch = EngineWatch(
            *parts, Kept(store.engines, store.health), self.thread, self.clock, lambda each: each
        )

    def set(self, **values: int) -> None:
        """Change settings, as a publisher that has read the store."""
        settings: Settings = resolve(
            {name.replace("__", "."): str(value) for name, value in values.items()}
        )
        self.publisher.read = SimpleNamespace(settings=settings)

    async def turns(self, count: int, every: float = 2.0) -> None:
        """So many turns of the background."""
        for _ in range(count):
            self.clock.time += every
            await self.watch.turn()

    def history(self) -> list[tuple[float, str, str]]:
        """What is kept, oldest first: seconds since the start, engine, state."""
        marks = reversed(self.store.health.history(limit=1000))
        return [(mark.time - START, mark.engine, mark.state) for mark in marks]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """A watch over an empty store."""
    paths = data_paths(tmp_path / "data")
    prepare(paths)
    migrate(paths)
    store = SqlStore(paths)
    made = Bench(store)
    yield made
    made.thread.close()
    store.close()


async def test_a_whole_look_comes_as_often_as_is_set(bench: Bench) -> None:
    """Every 15 s by itself."""
    bench.detection.here = [seen("one")]
    await bench.watch.look()
    await bench.turns(7)
    assert bench.detection.looks == 1
    await bench.turns(1)
    assert bench.detection.looks == 2


async def test_a_changed_setting_holds_from_the_next_turn_on(bench: Bench) -> None:
    """Nobody waits for the end of the old period."""
    bench.set(engine__check_seconds=3600)
    await bench.watch.look()
    await bench.turns(100)
    assert bench.detection.looks == 1
    bench.set(engine__check_seconds=4)
    await bench.turns(4)
    assert bench.detection.looks == 3


@pytest.mark.parametrize(
    ("state", "asked"),
    [
        (Degraded(1.0, STARTING), [{"one"}]),
        (Degraded(2000.0, "slower than 1500 ms"), [{"one"}]),
        (GONE, [{"one"}]),
        (ApiError("HTTP status 500"), [{"one"}]),
        (ApiError("needs_key"), []),
        (InstalledOnly(), []),
        (GOOD, []),
    ],
)
async def test_an_engine_whose_state_matters_quickly_is_asked_every_turn(
    bench: Bench, state: EngineState, asked: list[set[str]]
) -> None:
    """The others wait for the next look; a key does not come by itself."""
    bench.detection.here = [seen("one", state), seen("two")]
    await bench.watch.look()
    await bench.turns(1)
    assert bench.detection.asked == asked
    assert bench.detection.looks == 1


async def test_what_a_quick_look_tells_is_in_force_at_once(bench: Bench) -> None:
    """The others stay as they were."""
    bench.detection.here = [seen("one", Degraded(1.0, STARTING)), seen("two")]
    await bench.watch.look()
    bench.detection.told = Again((seen("one"),), False)
    await bench.turns(1)
    assert bench.publisher.engines == {"one": GOOD, "two": GOOD}
    assert bench.publisher.published == 2
    await bench.turns(1)
    assert bench.detection.asked == [{"one"}]


async def test_an_engine_that_comes_back_is_looked_at_whole(bench: Bench) -> None:
    """Another may be there in its place."""
    bench.detection.here = [seen("one", GONE)]
    await bench.watch.look()
    bench.detection.told = Again((), True)
    bench.detection.here = [seen("one")]
    await bench.turns(1)
    assert bench.detection.looks == 2
    assert bench.publisher.engines == {"one": GOOD}


async def test_a_suspect_is_asked_at_once_and_leaves_the_routes(bench: Bench) -> None:
    """Only those that serve: what is known to be dead is not asked for every request."""
    bench.detection.here = [seen("one"), seen("two", GONE)]
    await bench.watch.look()
    bench.detection.told = Again((seen("one", GONE),), False)
    await bench.watch.suspect(("one", "two", "embedded"))
    assert bench.detection.asked == [{"one"}]
    assert bench.publisher.engines == {"one": GONE, "two": GONE}
    await bench.watch.suspect(("one",))
    assert bench.detection.asked == [{"one"}]


async def test_a_suspect_does_not_wait_for_a_look_that_takes_long(bench: Bench) -> None:
    """A look may take 5 s."""
    bench.detection.here = [seen("one")]
    await bench.watch.look()
    gate = asyncio.Event()

    async def stuck(read: object) -> Sequence[Sighting]:
        await gate.wait()
        return [seen("one", GONE)]

    bench.detection.look = stuck  # type: ignore[method-assign]
    bench.detection.told = Again((seen("one", GONE),), True)
    async with asyncio.TaskGroup() as group:
        group.create_task(bench.watch.look())
        await asyncio.sleep(0)
        await bench.watch.suspect(("one",))
        assert bench.publisher.engines == {"one": GONE}
        gate.set()


async def test_states_are_kept_as_history(bench: Bench) -> None:
    """Changes when they come, a mark a minute in between."""
    bench.detection.here = [seen("one")]
    await bench.watch.look()
    await bench.turns(33)
    bench.detection.here = [seen("one", GONE)]
    await bench.watch.look()
    assert bench.history() == [
        (0.0, "one", "running-healthy"),
        (64.0, "one", "running-healthy"),
        (66.0, "one", "error-network"),
    ]


async def test_what_was_seen_is_there_for_the_next_start(bench: Bench) -> None:
    """It is served from the first snapshot on, and remembered with its failures."""
    bench.detection.here = [seen("one"), seen("two", GONE)]
    await bench.watch.look()
    following = Bench(bench.store)
    following.clock.time = START + 299
    await following.watch.begin()
    following.thread.close()
    assert following.publisher.engines == {"one": GOOD, "two": GONE}


async def test_what_was_seen_too_long_ago_is_not_believed(bench: Bench) -> None:
    """That it served says nothing about now; that it failed is still counted."""
    bench.detection.here = [seen("one"), seen("two", GONE)]
    await bench.watch.look()
    following = Bench(bench.store)
    following.clock.time = START + 301
    await following.watch.begin()
    following.thread.close()
    assert following.publisher.engines == {"one": InstalledOnly(), "two": GONE}


async def test_what_an_earlier_controller_started_died_with_it(bench: Bench) -> None:
    """It is not served, however fresh it is."""
    bench.detection.here = [seen("ours", owned=True), seen("one")]
    await bench.watch.look()
    following = Bench(bench.store)
    await following.watch.begin()
    following.thread.close()
    assert following.publisher.engines == {"one": GOOD}
    assert [engine.id for engine, _ in following.detection.remembered] == ["one"]
