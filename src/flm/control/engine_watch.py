"""Watches the engines: publishes what it finds, and remembers it for the next start.

A whole look comes about every `engine.check_seconds`. In between, every two seconds, only the
engines are asked that matter quickly: those that start, run badly or do not answer, so that they
come back within seconds; and at once those that refused a request. The request path reads nothing
but the snapshot.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import msgspec

from flm.control.engine_history import EngineHistory
from flm.control.engine_view import EngineView
from flm.control.publisher import Publisher
from flm.control.worker import StoreThread
from flm.control.world import Detection
from flm.domain.engines import (
    NEEDS_KEY,
    ApiError,
    Degraded,
    Engine,
    EngineId,
    EngineState,
    Healthy,
    NetworkError,
    serves,
)
from flm.errors import StoreError
from flm.ports.clock import Clock
from flm.ports.engines import Sighting
from flm.ports.repositories import EngineRepository
from flm.ports.telemetry import HealthRepository
from flm.services.detection_settling import believed
from flm.services.exposure import holes

logger = logging.getLogger("flm.control.engines")

TURN_SECONDS = 2.0
"""How often the engines are asked whose state matters quickly."""

_COUNTED = 100
"""Failures beyond this are not worth another write of the cache."""


class Kept(NamedTuple):
    """Where what was seen is kept: for the next start, and as history."""

    cache: EngineRepository
    health: HealthRepository


class EngineWatch:
    """One whole look at a time. `seen_once` is set when the first one has ended.

    ``spread`` varies a period a little, so that many machines do not ask together.
    """

    def __init__(
        self,
        detection: Detection,
        publisher: Publisher,
        view: EngineView,
        kept: Kept,
        thread: StoreThread,
        clock: Clock,
        spread: Callable[[float], float],
    ) -> None:
        self._detection = detection
        self._publisher = publisher
        self._view = view
        self._kept = kept
        self._thread = thread
        self._clock = clock
        self._spread = spread
        self._looking = asyncio.Lock()
        self._asking = asyncio.Lock()
        self._history = EngineHistory()
        self._found: tuple[Sighting, ...] = ()
        self._engines: tuple[Engine, ...] = ()
        self._looked_at = clock.monotonic()
        self._part = spread(1.0)
        self._cached: list[Sighting] = []
        self._cached_at = 0.0
        self.seen_once = asyncio.Event()

    async def begin(self) -> None:
        """Start from what an earlier controller saw. What is too old to be served is not, nor
        what it had started itself."""
        cached = await self._thread.run(self._kept.cache.cached)
        self._view.recall([Sighting(engine, tuple(models)) for engine, models in cached])
        oldest = self._clock.now() - self._publisher.read.settings.engine_cache_ttl_seconds
        trusted = believed(cached, oldest)
        self._detection.remember(trusted)
        self._publisher.see([Sighting(engine, tuple(models)) for engine, models in trusted])

    async def turn(self) -> None:
        """The background's turn: a whole look when it is time for one, else the quick ones."""
        period = self._part * self._publisher.read.settings.engine_check_seconds
        if self._clock.monotonic() - self._looked_at >= period:
            await self.look()
            return
        pressing = {engine.id for engine in self._engines if is_pressing(engine.state)}
        if pressing:
            await self._ask(pressing)

    async def look(self) -> None:
        """Look now; returns when what was found is in force."""
        try:
            async with self._looking:
                self._looked_at = self._clock.monotonic()
                self._part = self._spread(1.0)
                began = self._clock.now()
                found = await self._detection.look(self._publisher.read)
                seen = await self._view.looked(found, began)
                self._found = tuple(found)
                await self._use(seen)
        finally:
            self.seen_once.set()

    async def suspect(self, engines: Collection[str]) -> None:
        """These refused a request: an engine that is dead leaves the routes now, not at the next
        look."""
        serving = {engine.id for engine in self._engines if serves(engine.state)}
        suspected = serving & {EngineId(engine) for engine in engines}
        if suspected:
            await self._ask(suspected)

    async def _ask(self, engines: Collection[EngineId]) -> None:
        """Ask only these how they are; may run beside a look, which has the last word."""
        async with self._asking:
            told = await self._detection.again(self._publisher.read, engines)
            owned = any(engine.owned for engine in self._engines if engine.id in engines)
            fresh = {each.engine.id: each for each in told.seen}
            self._found = tuple(fresh.get(each.engine.id, each) for each in self._found)
            if fresh or owned:
                await self._use(await self._view.looked_again(self._found, engines))
        if told.look and not self._looking.locked():
            await self.look()

    async def _use(self, sightings: Sequence[Sighting]) -> None:
        seen = [_examined(sighting) for sighting in sightings]
        self._engines = tuple(sighting.engine for sighting in seen)
        self._publisher.see(seen)
        await self._publisher.publish()
        await self._remember(seen)

    async def _remember(self, seen: Sequence[Sighting]) -> None:
        """Cache what was seen; what is the same is written again only before it is too old."""
        now = self._clock.now()
        marks = self._history.due((sighting.engine for sighting in seen), now)
        told = [_in_essence(sighting) for sighting in seen]
        renew = now - self._cached_at > self._publisher.read.settings.engine_cache_ttl_seconds / 3
        try:
            if marks:
                await self._thread.run(self._kept.health.add, marks)
        except StoreError as error:
            self._history.forget(marks)
            logger.warning("the history of the engines has a gap: %s", error)
        if told == self._cached and not renew:
            return
        try:
            await self._thread.run(
                self._kept.cache.cache, [(sighting.engine, sighting.models) for sighting in seen]
            )
        except StoreError as error:
            logger.warning("what was seen is not cached: %s", error)
            return
        self._cached, self._cached_at = told, now


def _examined(sighting: Sighting) -> Sighting:
    """Detection says what is found of an engine; of those that FLM started it knows nothing."""
    engine = sighting.engine
    if not engine.owned:
        return sighting
    return Sighting(msgspec.structs.replace(engine, findings=holes(engine)), sighting.models)


def is_pressing(state: EngineState) -> bool:
    """Whether it may change within seconds, and somebody waits for that."""
    if isinstance(state, ApiError):
        return state.reason != NEEDS_KEY
    return isinstance(state, Degraded | NetworkError)


def _in_essence(sighting: Sighting) -> Sighting:
    """Without what changes from look to look and is not worth being written each time."""
    engine = sighting.engine
    state = engine.state
    if isinstance(state, Healthy):
        state = Healthy(0.0)
    elif isinstance(state, Degraded):
        state = Degraded(0.0, "")
    elif isinstance(state, NetworkError):
        state = NetworkError(state.reason, 0)
    essence = msgspec.structs.replace(
        engine, state=state, checked_at=0.0, failures=min(engine.failures, _COUNTED)
    )
    return Sighting(essence, sighting.models)
