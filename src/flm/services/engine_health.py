"""The history of the engines' states."""

from __future__ import annotations

from collections.abc import Callable, Collection

from flm.domain.engines import EngineId
from flm.domain.models import nearest
from flm.errors import N_, InvalidValue, NotFound
from flm.ports.clock import Clock
from flm.ports.telemetry import HealthMark, HealthRepository
from flm.services.logs import MAX_LIMIT, parse_since


class EngineHealth:
    """Searches the history. ``engines``: the names of those that are known now."""

    def __init__(
        self,
        health: HealthRepository,
        clock: Clock,
        engines: Callable[[], Collection[str]],
    ) -> None:
        self._health = health
        self._clock = clock
        self._engines = engines

    def history(
        self, engine: str | None = None, since: str | None = None, limit: int = 50
    ) -> list[HealthMark]:
        """What the engines were, newest first; the time of a mark is UTC seconds.

        ``since`` is read as `flm logs` does. Raises `InvalidValue`, and `NotFound` for an engine
        that was never here.
        """
        if not 1 <= limit <= MAX_LIMIT:
            raise InvalidValue(
                N_("The limit must be a whole number from 1 to {maximum}, not {limit}."),
                maximum=MAX_LIMIT,
                limit=limit,
            )
        from_ = None if since is None else parse_since(since, self._clock.now())
        asked = None if engine is None else EngineId(engine)
        marks = self._health.history(asked, from_, limit)
        if asked is not None and not marks and not self._was_here(asked):
            raise self._unknown(asked)
        return marks

    def _was_here(self, engine: EngineId) -> bool:
        return engine in self._engines() or bool(self._health.history(engine, limit=1))

    def _unknown(self, engine: EngineId) -> NotFound:
        known = self._engines()
        return NotFound(
            N_("There is no engine called {name}."),
            remedy=N_("Did you mean {nearest}? `flm engines list` shows all of them.")
            if known
            else N_("`flm engines list` shows the engines that were found."),
            name=engine,
            nearest=", ".join(nearest(engine, known) or sorted(known)[:3]),
        )
