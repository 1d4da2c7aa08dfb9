"""Looks at the engines, publishes what it finds and remembers it for the next start."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import msgspec

from flm.control.engine_runner import EngineRunner
from flm.control.publisher import Publisher
from flm.control.worker import StoreThread
from flm.control.world import Detection
from flm.domain.engines import Degraded, Healthy
from flm.errors import StoreError
from flm.ports.clock import Clock
from flm.ports.engines import Sighting
from flm.ports.repositories import EngineRepository

logger = logging.getLogger("flm.control.engines")


class EngineWatch:
    """One look at a time. `seen_once` is set when the first one has ended."""

    def __init__(
        self,
        detection: Detection,
        publisher: Publisher,
        runner: EngineRunner,
        cache: EngineRepository,
        thread: StoreThread,
        clock: Clock,
    ) -> None:
        self._detection = detection
        self._publisher = publisher
        self._runner = runner
        self._cache = cache
        self._thread = thread
        self._clock = clock
        self._one_at_a_time = asyncio.Lock()
        self._cached: list[Sighting] = []
        self._cached_at = 0.0
        self.seen_once = asyncio.Event()

    async def begin(self) -> None:
        """Start from what an earlier controller saw. What is too old to be served is not."""
        cached = await self._thread.run(self._cache.cached)
        self._detection.remember(cached)
        seen = [Sighting(engine, tuple(models)) for engine, models in cached]
        self._runner.recall(seen)
        self._publisher.see(seen)

    async def look(self) -> None:
        """Look now; returns when what was found is in force."""
        try:
            async with self._one_at_a_time:
                found = await self._detection.look(self._publisher.read)
                seen = await self._runner.looked(found)
                self._publisher.see(seen)
                await self._publisher.publish()
                await self._remember(seen)
        finally:
            self.seen_once.set()

    async def _remember(self, seen: Sequence[Sighting]) -> None:
        """Cache what was seen; what is the same is written again only before it is too old."""
        now = self._clock.now()
        told = [_without_times(sighting) for sighting in seen]
        renew = now - self._cached_at > self._publisher.read.settings.engine_cache_ttl_seconds / 3
        if told == self._cached and not renew:
            return
        try:
            await self._thread.run(
                self._cache.cache, [(sighting.engine, sighting.models) for sighting in seen]
            )
        except StoreError as error:
            logger.warning("what was seen is not cached: %s", error)
            return
        self._cached, self._cached_at = told, now


def _without_times(sighting: Sighting) -> Sighting:
    engine = sighting.engine
    state = engine.state
    if isinstance(state, Healthy):
        state = Healthy(0.0)
    elif isinstance(state, Degraded):
        state = Degraded(0.0, "")
    return Sighting(msgspec.structs.replace(engine, state=state, checked_at=0.0), sighting.models)
