"""What is kept of the engines' states: every change, and a mark a minute in between. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from flm.domain.engines import (
    ApiError,
    Degraded,
    Engine,
    EngineId,
    Healthy,
    InstalledOnly,
    NetworkError,
    state_name,
)
from flm.ports.telemetry import HealthMark

MARK_SECONDS = 60.0


class EngineHistory:
    """Remembers each engine's last mark, and says which are due.

    An engine that is only installed has no latency to follow: its changes are enough.
    """

    def __init__(self) -> None:
        self._last: dict[EngineId, HealthMark] = {}

    def due(self, engines: Iterable[Engine], now: float) -> list[HealthMark]:
        """The marks to keep of what was seen at `now`; they count as kept from then on."""
        seen = {engine.id: engine for engine in engines}
        marks = [
            mark
            for engine in seen.values()
            if self._is_due(mark := mark_of(engine, now), isinstance(engine.state, InstalledOnly))
        ]
        self._last = {id_: mark for id_, mark in self._last.items() if id_ in seen}
        self._last |= {mark.engine: mark for mark in marks}
        return marks

    def _is_due(self, mark: HealthMark, only_changes: bool) -> bool:
        last = self._last.get(mark.engine)
        if last is None or (last.state, last.reason) != (mark.state, mark.reason):
            return True
        return not only_changes and not 0 <= mark.time - last.time < MARK_SECONDS

    def forget(self, marks: Iterable[HealthMark]) -> None:
        """These could not be kept: they are due again."""
        for mark in marks:
            self._last.pop(mark.engine, None)


def mark_of(engine: Engine, now: float) -> HealthMark:
    """An engine's state as it is kept."""
    state = engine.state
    return HealthMark(
        engine=engine.id,
        time=now,
        state=state_name(state),
        latency_ms=state.latency_ms if isinstance(state, Healthy | Degraded) else None,
        reason=state.reason if isinstance(state, Degraded | NetworkError | ApiError) else "",
    )
