"""Detection: which engines are here, in what state, with which models.

All are asked at once, and an answer is given in time whatever hangs. What is remembered from
look to look lies in the `Detector`; nothing is read from or written to the store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple, TypeVar

import msgspec

from flm.domain.engines import (
    EMBEDDED,
    Address,
    Engine,
    EngineDefinition,
    EngineId,
    InstalledOnly,
    NetworkError,
)
from flm.domain.models import GgufFile, Model
from flm.ports.clock import Clock
from flm.ports.engines import NO_ANSWER, EngineAdapter, ModelLauncher, Prober, Sighting
from flm.services.embedded_models import embedded_sighting
from flm.services.engine_states import Health, Thresholds, judge
from flm.tasks import Tasks

LOOK_SECONDS = 4.5
"""A look ends within 5 s: this for the engines, the rest for ourselves."""

_LOOPBACK = ("127.0.0.1", "::1")

Contexts = Mapping[str, Mapping[str, int]]
"""Engine id → model ('' for the whole engine) → the context length that was set."""

T = TypeVar("T")


class Added(NamedTuple):
    """An engine the user added, with its own key opened."""

    definition: EngineDefinition
    key: str | None = None


class _Place(NamedTuple):
    """One engine to describe: whose id it has is settled before it is asked.

    ``lost``: nothing of its kind answered where one was seen before.
    """

    id: EngineId
    adapter: EngineAdapter
    address: Address
    source: Literal["added", "detected"]
    key: str | None = None
    lost: bool = False


class _Known(NamedTuple):
    """What is remembered of an engine."""

    place: _Place
    health: Health
    models: tuple[Model, ...]


class Detector:
    """Looks at the engines of this machine, one look at a time.

    ``launcher`` is the embedded engine's, None where there is none to speak of.
    """

    def __init__(
        self,
        adapters: Sequence[EngineAdapter],
        prober: Prober,
        clock: Clock,
        launcher: ModelLauncher | None = None,
        thresholds: Thresholds | None = None,
        seconds: float = LOOK_SECONDS,
    ) -> None:
        self._adapters = {adapter.kind: adapter for adapter in adapters}
        self._prober = prober
        self._clock = clock
        self._launcher = launcher
        self._thresholds = thresholds or Thresholds()
        self._seconds = seconds
        self._known: dict[EngineId, _Known] = {}

    def remember(self, cached: Iterable[tuple[Engine, Sequence[Model]]]) -> None:
        """Take what was seen by an earlier process for what was seen before."""
        for engine, models in cached:
            if engine.address is None or engine.source == "built-in":
                continue
            adapter = self._adapters.get(engine.kind)
            if adapter is not None:
                state = engine.state
                failures = state.consecutive_failures if isinstance(state, NetworkError) else 0
                place = _Place(engine.id, adapter, engine.address, engine.source)
                self._known[engine.id] = _Known(place, Health(state, failures), tuple(models))

    async def look(
        self,
        added: Sequence[Added],
        environment: Mapping[str, str],
        contexts: Contexts,
        files: Sequence[GgufFile],
    ) -> list[Sighting]:
        """Everything that is here now, each engine once: added, detected, installed, embedded.

        An added engine is listed however it is. A detected one that stopped answering is listed
        as an error until it has failed more than ``network_failures`` times.
        """
        tasks = Tasks()
        loop = asyncio.get_running_loop()
        ends = loop.time() + self._seconds
        try:
            embedded = tasks.start("look:embedded", self._embedded(files, contexts))
            places = [self._added(each) for each in added]
            looks = self._describe(tasks, places, contexts)
            found = await self._find(tasks, environment, places)
            looks += self._describe(tasks, found, contexts)
            remaining = max(0.0, ends - loop.time())
            await asyncio.wait([embedded, *looks], timeout=remaining)
        finally:
            await tasks.cancel()
        sightings = self._settle([*places, *found], [_result(each) for each in looks])
        own = _result(embedded)
        now = self._clock.now()
        everything = [*sightings, *self._installed(sightings), *([own] if own else [])]
        return [_replaced(sighting, checked_at=now) for sighting in everything]

    def _added(self, added: Added) -> _Place:
        of = added.definition
        kind = "custom" if of.kind == "auto" else of.kind
        return _Place(of.id, self._adapters[kind], of.address, "added", added.key)

    def _describe(
        self, tasks: Tasks, places: Sequence[_Place], contexts: Contexts
    ) -> list[asyncio.Task[Sighting]]:
        return [
            tasks.start(
                f"describe:{place.id}",
                place.adapter.describe(
                    self._prober, place.id, place.address, place.key, contexts.get(place.id, {})
                ),
            )
            for place in places
        ]

    async def _find(
        self, tasks: Tasks, environment: Mapping[str, str], added: Sequence[_Place]
    ) -> list[_Place]:
        """Where engines listen, or did until now, each with its id. Takes half of the time."""
        claimed = {(host, place.address.port) for place in added for host in _hosts(place.address)}
        wanted = [
            (adapter, address)
            for adapter in self._adapters.values()
            for address in adapter.candidates(environment)
            if (address.host, address.port) not in claimed
        ]
        looks = [
            tasks.start(f"find:{address.url}", adapter.recognise(self._prober, address))
            for adapter, address in wanted
        ]
        if looks:
            await asyncio.wait(looks, timeout=self._seconds / 2)
        here = {place: _result(look) is True for place, look in zip(wanted, looks, strict=True)}
        found = [(place, False) for place in wanted if here[place]]
        # what was seen before and does not answer comes last: its place may be another's now
        found += [(place, True) for place in wanted if not here[place] and self._known_at(*place)]
        return self._named(found, claimed, {place.id for place in added} | {EMBEDDED})

    def _named(
        self,
        found: Sequence[tuple[tuple[EngineAdapter, Address], bool]],
        claimed: set[tuple[str, int]],
        taken: set[EngineId],
    ) -> list[_Place]:
        """Each address once, under the id it had before or a new one."""
        places: list[_Place] = []
        for (adapter, address), lost in found:
            if (address.host, address.port) in claimed:
                continue
            before = self._known_at(adapter, address)
            known = before if before is not None and before not in taken else None
            id_ = known or self._new_id(adapter, address, taken)
            claimed.add((address.host, address.port))
            taken.add(id_)
            places.append(_Place(id_, adapter, address, "detected", lost=lost))
        return places

    def _known_at(self, adapter: EngineAdapter, address: Address) -> EngineId | None:
        for id_, known in self._known.items():
            if known.place.source == "detected" and known.place.address == address:
                return id_ if known.place.adapter.kind == adapter.kind else None
        return None

    def _new_id(self, adapter: EngineAdapter, address: Address, taken: set[EngineId]) -> EngineId:
        """`ollama`; `ollama-11500` for a second one; `ollama-11500-6` for one on [::1] besides."""
        spoken_for = taken | set(self._known)
        plain = f"{adapter.kind}-{address.port}"
        for text in (adapter.kind, plain, f"{plain}-6"):
            if text not in spoken_for:
                return EngineId(text)
        return EngineId(f"{plain}-{len(spoken_for)}")

    def _settle(self, places: Sequence[_Place], seen: Sequence[Sighting | None]) -> list[Sighting]:
        """Judge what was seen by what was before, and remember it."""
        kept: list[Sighting] = []
        known: dict[EngineId, _Known] = {}
        for place, sighting in zip(places, seen, strict=True):
            settled = self._settle_one(place, sighting)
            if settled is None:
                continue
            remembered, now = settled
            if place.source == "detected" and any(_same(now, other) for other in kept):
                continue
            known[place.id] = remembered
            kept.append(now)
        self._known = known
        return kept

    def _settle_one(self, place: _Place, seen: Sighting | None) -> tuple[_Known, Sighting] | None:
        engine = seen.engine if seen is not None else _silent(place)
        models = seen.models if seen is not None else ()
        silent = isinstance(engine.state, NetworkError)
        if place.lost and not silent:
            return None  # something else listens there now
        before = self._known.get(place.id)
        if before is not None and before.place.address != place.address:
            before = None
        health = judge(engine.state, before.health if before else None, self._thresholds)
        gone = health.failures > self._thresholds.network_failures
        if gone and place.source == "detected":
            return None
        if silent and before is not None:
            models = before.models
        engine = msgspec.structs.replace(engine, state=health.state, source=place.source)
        return _Known(place, health, models), Sighting(engine, models)

    def _installed(self, sightings: Sequence[Sighting]) -> list[Sighting]:
        """The programs that are here and do not run."""
        kinds = {sighting.engine.kind for sighting in sightings}
        ids = {sighting.engine.id for sighting in sightings}
        found: list[Sighting] = []
        for kind, adapter in self._adapters.items():
            if kind in kinds or kind in ids or kind == EMBEDDED:
                continue
            path = adapter.installed()
            if path is not None:
                engine = Engine(id=EngineId(kind), kind=kind, state=InstalledOnly(), detail=path)
                found.append(Sighting(engine))
        return found

    async def _embedded(self, files: Sequence[GgufFile], contexts: Contexts) -> Sighting | None:
        if self._launcher is None:
            return None
        return await embedded_sighting(self._launcher, files, contexts.get(EMBEDDED, {}))


def _hosts(address: Address) -> tuple[str, ...]:
    """The hosts an added address speaks for: either loopback address means both."""
    return _LOOPBACK if address.host in _LOOPBACK else (address.host,)


def _silent(place: _Place) -> Engine:
    state = NetworkError(NO_ANSWER, 1)
    return Engine(id=place.id, kind=place.adapter.kind, state=state, address=place.address)


def _same(one: Sighting, other: Sighting) -> bool:
    """Whether two sightings are one engine that listens on both loopback addresses."""
    here, there = one.engine.address, other.engine.address
    return (
        here is not None
        and there is not None
        and {here.host, there.host} == set(_LOOPBACK)
        and (here.port, here.prefix) == (there.port, there.prefix)
        and one.engine.kind == other.engine.kind
        and one.engine.version == other.engine.version
        and {model.name for model in one.models} == {model.name for model in other.models}
    )


def _replaced(sighting: Sighting, checked_at: float) -> Sighting:
    engine = msgspec.structs.replace(sighting.engine, checked_at=checked_at)
    return Sighting(engine, sighting.models)


def _result(task: asyncio.Task[T]) -> T | None:
    """What a look found; None when it did not end in time or failed, which `Tasks` has logged."""
    if not task.done() or task.cancelled() or task.exception() is not None:
        return None
    return task.result()
