"""Which engines and models there are, when some were started by FLM and some can be. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec

from flm.control.engine_process import Started
from flm.control.publisher import Arrangement
from flm.domain.engines import Address, Engine, EngineId, EngineKind, InstalledOnly, serves
from flm.domain.models import Model, ModelState
from flm.ports.engines import Sighting

_LOOPBACK = frozenset({"127.0.0.1", "::1"})


class Roster:
    """What models engines had when they served last, so that they are offered while they sleep;
    and which engines FLM has stopped, so that nobody is sent to what an earlier look saw."""

    def __init__(self) -> None:
        self._models: dict[EngineId, tuple[Model, ...]] = {}
        self._stopped: dict[EngineId, tuple[Address, float]] = {}
        self._looked_from = 0.0

    def stopped(self, engine: EngineId, address: Address, now: float) -> None:
        """FLM has stopped it: what was seen of it by looks that began before does not count."""
        self._stopped[engine] = (address, now)

    def looked(self, began: float) -> None:
        """What is arranged from now on was seen by a look that began at `began`."""
        self._looked_from = began
        for engine, (_, at) in list(self._stopped.items()):
            if at < began:
                del self._stopped[engine]

    def _is_outdated(self, seen: Sighting) -> bool:
        if isinstance(seen.engine.state, InstalledOnly):
            return False
        place = _place(seen.engine.address)
        return any(
            at >= self._looked_from and (engine == seen.engine.id or _place(address) == place)
            for engine, (address, at) in self._stopped.items()
        )

    def _current(self, seen: Iterable[Sighting], now: float) -> list[Sighting]:
        """What was seen and still holds: an engine that FLM stopped since is installed."""
        current: list[Sighting] = []
        for sighting in seen:
            engine = sighting.engine
            if not self._is_outdated(sighting):
                current.append(sighting)
            elif engine.id in self._stopped:
                installed = Engine(
                    id=engine.id, kind=engine.kind, state=InstalledOnly(), checked_at=now
                )
                current.append(Sighting(installed))
        return current

    def remember(self, sightings: Iterable[Sighting], engines: Collection[EngineId]) -> None:
        """Take the models of those `engines` that have some; of others nothing is kept."""
        for sighting in sightings:
            usable = tuple(model for model in sighting.models if model.loaded or not model.by_hand)
            if sighting.engine.id in engines and usable:
                self._models[sighting.engine.id] = usable
        for gone in self._models.keys() - set(engines):
            del self._models[gone]

    def models(self, engine: EngineId) -> tuple[Model, ...]:
        """What it had."""
        return tuple(
            msgspec.structs.replace(model, loaded=False) for model in self._models.get(engine, ())
        )

    def arrange(
        self,
        seen: Sequence[Sighting],
        started: Mapping[EngineId, Started],
        startable: Mapping[EngineId, EngineKind],
        now: float,
    ) -> Arrangement:
        """Lay what was started over what was seen.

        What detection saw of an engine that FLM started, under whatever id, is left out: FLM asks
        it with its key. One that ended and was started anew by somebody else is theirs.
        """
        ours = {id_: each for id_, each in started.items() if not _is_replaced(each, seen)}
        places = {_place(each.address) for each in ours.values() if each.phase != "ended"}
        sightings = [
            self._awaiting(sighting, startable)
            for sighting in self._current(seen, now)
            if sighting.engine.id not in ours and _place(sighting.engine.address) not in places
        ]
        sightings += [each.sighting(self.models(id_), now) for id_, each in ours.items()]
        listed = {sighting.engine.id for sighting in sightings}
        for id_, kind in startable.items():
            if id_ not in listed:
                engine = Engine(id=id_, kind=kind, state=InstalledOnly(), checked_at=now)
                sightings.append(Sighting(engine, self.models(id_)))
        return Arrangement(tuple(sightings), _held(sightings, ours, startable))

    def _awaiting(self, seen: Sighting, startable: Mapping[EngineId, EngineKind]) -> Sighting:
        """An engine that does not serve has the models it had, where a request starts it."""
        if seen.engine.id not in startable or serves(seen.engine.state):
            return seen
        return Sighting(seen.engine, self.models(seen.engine.id))


def _held(
    sightings: Iterable[Sighting],
    started: Mapping[EngineId, Started],
    startable: Mapping[EngineId, EngineKind],
) -> dict[EngineId, ModelState]:
    held: dict[EngineId, ModelState] = {}
    for sighting in sightings:
        id_ = sighting.engine.id
        ours = started.get(id_)
        busy = ours is not None and ours.phase in ("starting", "leaving")
        if busy or not serves(sighting.engine.state):
            # one that runs and does not answer cannot be started: it is waited for
            awake = ours is not None and ours.phase == "ready"
            comes = (id_ in startable and not awake) or (
                ours is not None and ours.phase == "starting"
            )
            held[id_] = "sleeping" if comes else "unavailable"
    return held


def _is_replaced(ended: Started, seen: Iterable[Sighting]) -> bool:
    return ended.phase == "ended" and any(
        sighting.engine.id == ended.engine and serves(sighting.engine.state) for sighting in seen
    )


def _place(address: Address | None) -> tuple[str, int] | None:
    """Both loopback addresses are one place."""
    if address is None:
        return None
    return ("" if address.host in _LOOPBACK else address.host), address.port
