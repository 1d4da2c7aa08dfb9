"""The engines as they are: what detection saw, with those that were started and can be."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Sequence

from flm.control.engine_fleet import Fleet
from flm.control.engine_roster import Roster
from flm.control.engine_starts import EngineStarts, kind_of
from flm.control.publisher import Arrangement, Read
from flm.domain.engines import EMBEDDED, EngineId, EngineKind, NetworkError, serves
from flm.ports.clock import Clock
from flm.ports.engines import Sighting
from flm.services.engine_states import Thresholds

logger = logging.getLogger("flm.control.engines")


class EngineView:
    """What was seen last, and by which settings it counts. ``read``: what is stored now."""

    def __init__(
        self, starts: EngineStarts, fleet: Fleet, roster: Roster, clock: Clock, read: Read
    ) -> None:
        self._starts = starts
        self._fleet = fleet
        self._roster = roster
        self._clock = clock
        self._seen: tuple[Sighting, ...] = ()
        self.startable: dict[EngineId, EngineKind] = {}
        self.read = read

    def arranged(self, seen: Sequence[Sighting]) -> Arrangement:
        """What detection saw, with what was started and what can be."""
        return self._roster.arrange(seen, self._fleet.started, self.startable, self._clock.now())

    def recall(self, cached: Sequence[Sighting]) -> None:
        """Take the models that an earlier controller saw."""
        self._roster.remember(cached, self.wanted())

    async def use(self, read: Read) -> None:
        """Take the settings of now; which engines a request may start follows from them."""
        self.read = read
        self.startable = await self._survey()

    def wanted(self) -> set[EngineId]:
        """The engines that the user lets requests start."""
        return {
            EngineId(engine) for engine, of in self.read.settings.engines.items() if of.autostart
        }

    async def _survey(self) -> dict[EngineId, EngineKind]:
        found: dict[EngineId, EngineKind] = {}
        for engine in sorted(self.wanted()):
            kind = kind_of(engine, self.read, self._seen)
            if kind is None or engine == EMBEDDED:
                continue
            arguments = self.read.settings.engine(engine).arguments or ()
            obstacle = await asyncio.to_thread(
                self._starts.obstacle, engine, kind, self.read, arguments
            )
            if obstacle is None:
                found[engine] = kind
            elif engine in self.startable:
                logger.warning("%s cannot be started any more: %s", engine, obstacle)
        return found

    async def looked(self, seen: Sequence[Sighting], began: float) -> tuple[Sighting, ...]:
        """Detection saw these in a look that began at `began` (UTC seconds): look at those that
        were started too, and put all together."""
        ready = [each for each in self._fleet.started.values() if each.phase == "ready"]
        looks = await asyncio.gather(*(self._starts.describe(each, self.read) for each in ready))
        for started, sighting in zip(ready, looks, strict=True):
            started.take(sighting, self.thresholds())
        self._seen = tuple(seen)
        self.startable = await self._survey()
        self._roster.looked(began)
        sightings = self.arranged(seen).sightings
        self._roster.remember(
            (each for each in sightings if serves(each.engine.state)), self.wanted()
        )
        return sightings

    async def looked_again(
        self, seen: Sequence[Sighting], engines: Collection[EngineId]
    ) -> tuple[Sighting, ...]:
        """Some of what detection saw has changed: look again at those of `engines` that were
        started, and put all together. Silence waits for the next `looked`."""
        self._seen = tuple(seen)
        ready = [
            each
            for id_, each in self._fleet.started.items()
            if each.phase == "ready" and id_ in engines
        ]
        looks = await asyncio.gather(*(self._starts.describe(each, self.read) for each in ready))
        for started, sighting in zip(ready, looks, strict=True):
            if not isinstance(sighting.engine.state, NetworkError):
                started.take(sighting, self.thresholds())
        return self.arranged(self._seen).sightings

    def thresholds(self) -> Thresholds:
        """By which its state is judged."""
        settings = self.read.settings
        return Thresholds(
            latency_ms=float(settings.engine_health_latency_threshold_ms),
            network_failures=settings.engine_max_network_failures,
        )

    def kind(self, engine: EngineId) -> EngineKind | None:
        """Its kind, None when nothing tells."""
        return kind_of(engine, self.read, self._seen)

    def serving(self, engine: EngineId) -> Sighting | None:
        """How it is seen, if it serves."""
        for sighting in self.arranged(self._seen).sightings:
            if sighting.engine.id == engine and serves(sighting.engine.state):
                return sighting
        return None
