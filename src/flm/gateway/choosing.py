"""In which order the homes of one model are asked, and where a conversation was before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from flm.domain.engines import EngineLoad

if TYPE_CHECKING:
    from flm.gateway.live import LiveTarget

LEAD = 4
"""So many requests more than the least busy home may be in flight where a conversation was before:
what its engine still has of it in its cache saves more than they cost."""

REMEMBERED = 4_096
"""Conversations whose last home is known; about 1 MB."""


class Places:
    """Where each of the last conversations was answered, by its trace."""

    def __init__(self) -> None:
        self._of: dict[str, str] = {}

    def of(self, trace: str) -> str:
        """The target of that conversation; '' when it is not known."""
        return self._of.get(trace, "")

    def note(self, trace: str, target: str) -> None:
        """It was answered there just now."""
        self._of.pop(trace, None)
        self._of[trace] = target
        if len(self._of) > REMEMBERED:
            del self._of[next(iter(self._of))]


def ordered(
    homes: Sequence[LiveTarget], loads: Mapping[str, EngineLoad], usual: str, now: float
) -> list[LiveTarget]:
    """The homes, best first.

    One that works goes before one whose breaker is open, one that is awake before one that must
    be woken; then the `usual` one, where the conversation was before ('' for none), unless it has
    requests waiting or is much busier than the least busy one; then the least busy.
    """
    busy = {live.target.id: _busy(live, loads) for live in homes}

    def rank(live: LiveTarget) -> tuple[bool, bool]:
        return (live.breaker.waits(now) > 0, live.pool is None)

    best = sorted(homes, key=lambda live: (*rank(live), busy[live.target.id]))
    for live in best[1:]:
        if live.target.id == usual and rank(live) == rank(best[0]) and not _full(live, loads):
            if busy[usual] - busy[best[0].target.id] <= LEAD:
                best.remove(live)
                best.insert(0, live)
            break
    return best


def _busy(live: LiveTarget, loads: Mapping[str, EngineLoad]) -> int:
    """Requests there: FLM's own, and those of others that wait there."""
    load = loads.get(live.target.engine)
    waiting = 0 if load is None else load.waiting or 0
    return live.in_flight + waiting


def _full(live: LiveTarget, loads: Mapping[str, EngineLoad]) -> bool:
    load = loads.get(live.target.engine)
    return load is not None and bool(load.waiting)
