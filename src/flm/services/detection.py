"""Detection: which engines are here, in what state, with which models.

All places are asked at once who is there (`detection_search`), each engine gets the id it had
before or a new one (`detection_names`), its adapter describes it, and what was seen is judged by
what was before (`detection_settling`). An answer is given in time whatever hangs. What is
remembered from look to look lies in the `Detector`; nothing is read from or written to the store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

import msgspec

from flm.domain.engines import (
    EMBEDDED,
    Address,
    Engine,
    EngineId,
    EngineKind,
    InstalledOnly,
    KnownEngine,
)
from flm.domain.models import Model
from flm.ports.clock import Clock
from flm.ports.engines import EngineAdapter, ModelLauncher, Prober, Sighting
from flm.ports.machine import Machine
from flm.services.detection_finding import Identify
from flm.services.detection_names import Names
from flm.services.detection_places import PORTS
from flm.services.detection_search import Search, Surroundings, result_of
from flm.services.detection_settling import (
    Again,
    Known,
    Place,
    comes_back,
    hurried,
    same,
    settled,
)
from flm.services.detection_wanted import Added, Wanted
from flm.services.detection_words import findings, out_of_reach
from flm.services.embedded_models import embedded_sighting
from flm.services.engine_states import Health, Thresholds
from flm.services.exposure import exposure, holes
from flm.tasks import Tasks

__all__ = ["LOOK_SECONDS", "Added", "Again", "Detector", "Wanted"]

LOOK_SECONDS = 4.5
"""A look ends within 5 s: this for the engines, the rest for ourselves."""

AGAIN_SECONDS = 2.5
"""What a single engine may take to be looked at again."""

_MACHINE_SECONDS = 1.0


class Detector:
    """Looks at the engines of this machine, one look at a time.

    ``identify``: the ladder of fingerprints; ``launcher``: the embedded engine's, None where
    there is none to speak of; ``ports``: those that are searched besides the adapters' places.
    """

    def __init__(
        self,
        adapters: Sequence[EngineAdapter],
        prober: Prober,
        clock: Clock,
        identify: Identify,
        machine: Machine,
        launcher: ModelLauncher | None = None,
        thresholds: Thresholds | None = None,
        seconds: float = LOOK_SECONDS,
        ports: Sequence[int] = PORTS,
    ) -> None:
        self._adapters = {adapter.kind: adapter for adapter in adapters}
        self._prober = prober
        self._clock = clock
        self._identify = identify
        self._machine = machine
        self._launcher = launcher
        self._thresholds = thresholds or Thresholds()
        self._seconds = seconds
        self._ports = ports
        self._known: dict[EngineId, Known] = {}
        self._named: dict[EngineId, KnownEngine] = {}
        self._here = Surroundings((), ())

    def remember(self, cached: Iterable[tuple[Engine, Sequence[Model]]]) -> None:
        """Take what was seen by an earlier process for what was seen before."""
        for engine, models in cached:
            adapter = self._adapters.get(engine.kind)
            if engine.address is None or engine.source == "built-in" or adapter is None:
                continue
            place = Place(engine.id, adapter, engine.address, engine.source)
            health = Health(engine.state, engine.failures, engine.good_checks)
            self._known[engine.id] = Known(place, health, tuple(models))

    def named(self) -> list[KnownEngine]:
        """The found engines whose ids were given since this was last asked: to be kept."""
        named, self._named = self._named, {}
        return list(named.values())

    async def look(self, wanted: Wanted) -> list[Sighting]:
        """Everything that is here now, each engine once: added, found, installed, embedded."""
        tasks = Tasks()
        self._thresholds = wanted.thresholds or self._thresholds
        loop = asyncio.get_running_loop()
        ends = loop.time() + self._seconds
        known = _all_known(wanted, self._known)
        names = Names(known, _taken(wanted))
        try:
            embedded = tasks.start("look:embedded", self._embedded(wanted))
            here = self._here = await self._surroundings(tasks)
            search = Search(
                self._adapters, self._prober, self._identify, self._machine, self._known
            )
            places = await search.places(tasks, wanted, here, names, self._ports, self._seconds / 2)
            looks = [
                tasks.start(f"describe:{place.id}", self._describe(place, wanted))
                for place in places
            ]
            installed = tasks.start("look:files", asyncio.to_thread(self._programs, wanted))
            waited = [embedded, installed, *looks]
            await asyncio.wait(waited, timeout=max(0.0, ends - loop.time()))
        finally:
            await tasks.cancel()
        seen = self._settle(places, [result_of(each) for each in looks])
        self._keep(seen, wanted)
        own = result_of(embedded)
        stopped = _stopped(result_of(installed) or [], seen, known, wanted)
        elsewhere = out_of_reach(self._machine, here.hosts, [each.engine for each in seen])
        everything = [*seen, *stopped, *map(Sighting, elsewhere), *([own] if own else [])]
        return self._completed(everything, here)

    async def again(self, wanted: Wanted, engines: Collection[EngineId]) -> Again:
        """Ask only `engines`, which the last look saw, how they are now; may run beside a look.

        It hurries good and bad news, and counts no failures: silence waits for the next look.
        """
        asked = [known for id_, known in self._known.items() if id_ in engines]
        tasks = Tasks()
        try:
            looks = [
                tasks.start(f"again:{known.place.id}", self._describe(known.place, wanted))
                for known in asked
            ]
            if looks:
                await asyncio.wait(looks, timeout=AGAIN_SECONDS)
        finally:
            await tasks.cancel()
        told: list[Sighting] = []
        another = False
        for known, look in zip(asked, looks, strict=True):
            sighting = result_of(look)
            if sighting is None or self._known.get(known.place.id) is not known:
                continue
            another = another or comes_back(known.health.state, sighting.engine.state)
            one = hurried(known, sighting, self._thresholds)
            if one is not None:
                self._known[known.place.id], seen = one
                told.append(seen)
        return Again(tuple(self._completed(told, self._here)), another)

    def _completed(self, seen: Iterable[Sighting], here: Surroundings) -> list[Sighting]:
        """What was seen, with its time and what there is to say about it."""
        now = self._clock.now()
        inside = any(host.how == "container" for host in here.hosts)
        made: list[Sighting] = []
        for engine, models in ((each.engine, each.models) for each in seen):
            told = (
                *engine.findings,
                *findings(engine, here.hosts),
                *exposure(engine, here.listeners, self._machine.environment, inside=inside),
                *holes(engine),
            )
            engine_now = msgspec.structs.replace(engine, checked_at=now, findings=told)
            made.append(Sighting(engine_now, models))
        return made

    async def _surroundings(self, tasks: Tasks) -> Surroundings:
        """The tables are read in threads; when that hangs, the usual places are asked anyhow."""
        listeners = tasks.start("look:listeners", asyncio.to_thread(self._machine.listeners))
        hosts = tasks.start("look:hosts", asyncio.to_thread(self._machine.hosts))
        await asyncio.wait([listeners, hosts], timeout=min(_MACHINE_SECONDS, self._seconds / 4))
        return Surroundings(result_of(listeners) or (), result_of(hosts) or ())

    async def _describe(self, place: Place, wanted: Wanted) -> Sighting:
        return await place.adapter.describe(
            self._prober, place.id, place.address, place.key, wanted.wish(place.id)
        )

    async def _embedded(self, wanted: Wanted) -> Sighting | None:
        if self._launcher is None:
            return None
        return await embedded_sighting(self._launcher, wanted.files, wanted.wish(EMBEDDED))

    def _settle(self, places: Sequence[Place], seen: Sequence[Sighting | None]) -> list[Sighting]:
        """Judge what was seen by what was before, and remember it."""
        kept: list[Sighting] = []
        known: dict[EngineId, Known] = {}
        for place, sighting in zip(places, seen, strict=True):
            one = settled(place, sighting, self._known.get(place.id), self._thresholds)
            if one is None:
                continue
            remembered, now = one
            if place.source == "detected" and any(same(now, other) for other in kept):
                continue
            known[place.id] = remembered
            kept.append(now)
        self._known = known
        return kept

    def _keep(self, seen: Sequence[Sighting], wanted: Wanted) -> None:
        """Note the ids that were given: they survive restarts."""
        stored = {each.id for each in wanted.known}
        for sighting in seen:
            engine = sighting.engine
            if engine.source == "detected" and engine.address and engine.id not in stored:
                self._named[engine.id] = KnownEngine(
                    id=engine.id, kind=engine.kind, address=engine.address
                )

    def _programs(self, wanted: Wanted) -> list[_Program]:
        """The programs of engines that are here, running or not. Looks at files: in a thread."""
        found: list[_Program] = []
        for kind, adapter in self._adapters.items():
            ids = (kind, *(each.id for each in wanted.known if each.kind == kind))
            named = next((wanted.paths[id_] for id_ in ids if id_ in wanted.paths), "")
            there = self._machine.is_file(named) or self._machine.is_folder(named)
            installation = adapter.installed(self._machine)
            path = named if named and there else installation.program if installation else None
            if path is not None and kind != EMBEDDED:
                found.append(_Program(kind, path, adapter.places(self._machine)))
        return found


class _Program(NamedTuple):
    """An engine's program on this machine, and where it listens when it runs."""

    kind: EngineKind
    path: str
    places: tuple[Address, ...]


def _stopped(
    programs: Sequence[_Program],
    seen: Sequence[Sighting],
    known: Sequence[KnownEngine],
    wanted: Wanted,
) -> list[Sighting]:
    """The programs of engines of which none runs on this machine."""
    local = [each.engine for each in seen if each.engine.address is not None]
    kinds = {engine.kind for engine in local if engine.address and engine.address.is_loopback}
    names = Names(known, _taken(wanted) | {each.engine.id for each in seen})
    made: list[Sighting] = []
    for program in programs:
        id_ = None
        if program.kind not in kinds:
            id_ = names.of_installed(program.kind, program.places)
        if id_ is not None:
            state = InstalledOnly()
            engine = Engine(id=id_, kind=program.kind, state=state, detail=program.path)
            made.append(Sighting(engine))
    return made


def _all_known(wanted: Wanted, seen: dict[EngineId, Known]) -> list[KnownEngine]:
    """What is stored, then what only this process knows; a stored place has its stored id."""
    stored = {(each.kind, each.address) for each in wanted.known}
    own = [
        KnownEngine(id=id_, kind=known.place.adapter.kind, address=known.place.address)
        for id_, known in seen.items()
        if known.place.source == "detected"
    ]
    return [*wanted.known, *(each for each in own if (each.kind, each.address) not in stored)]


def _taken(wanted: Wanted) -> set[EngineId]:
    return {each.definition.id for each in wanted.added} | {EMBEDDED}
