"""Which models this machine had when its engines served last.

A name that was answered here must not leave the machine because its engine has stopped: prompts
would go elsewhere in silence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from flm.domain.engines import EngineId, Healthy
from flm.ports.engines import Sighting


class LocalNames:
    """Names by engine, for the controller's life."""

    def __init__(self) -> None:
        self._names: dict[EngineId, frozenset[str]] = {}

    def see(self, sightings: Iterable[Sighting]) -> None:
        """Take the names of the engines of this machine; one that is well tells all it has."""
        for sighting in sightings:
            engine = sighting.engine
            names = frozenset(model.name for model in sighting.models if not model.remote)
            if not engine.remote and (names or isinstance(engine.state, Healthy)):
                self._names[engine.id] = names

    def of(self, engines: Iterable[EngineId]) -> Mapping[str, EngineId]:
        """The names that these engines had, each with one that had it."""
        return {name: engine for engine in engines for name in self._names.get(engine, ())}
