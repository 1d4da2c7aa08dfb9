"""A circuit breaker for each target: an engine that fails again and again is left alone a while.

closed → (failures in a row, or more than half of the last ones) → open → (time) → half-open: one
request is let through as a probe → closed, or open for twice as long.
"""

from __future__ import annotations

from typing import Final

WINDOW: Final = 20
"""Requests of which more than half may not have failed."""

LONGEST_SECONDS: Final = 120.0


class Breaker:
    """One target's. Times are monotonic seconds. ``failures`` 0 switches it off.

    What counts as a failure: no connection, no answer, a 5xx of the engine's own, a deadline, and
    a first byte later than ``slow_seconds``. What does not count either way: what the client did
    wrong or stopped, and an engine that is busy or loads (429, 503), which is sound.
    """

    __slots__ = ("_last", "_open_seconds", "_open_until", "_probing", "_row")

    def __init__(self) -> None:
        self._row = 0
        self._last: list[bool] = []
        self._open_until = 0.0
        self._open_seconds = 0.0
        self._probing = False

    def waits(self, now: float) -> float:
        """Seconds until somebody may ask again; 0 when it may be asked now."""
        if not self._open_seconds:
            return 0.0
        if now < self._open_until:
            return self._open_until - now
        return 1.0 if self._probing else 0.0

    def asked(self) -> None:
        """A request goes there; when it is half-open, that is the probe."""
        if self._open_seconds:
            self._probing = True

    def let_go(self) -> None:
        """The request ended and said nothing about the engine."""
        self._probing = False

    def well(self) -> None:
        """The engine answered as it should."""
        self._row = 0
        self._open_seconds = 0.0
        self._probing = False
        if self._last:
            self._last.append(False)
            del self._last[:-WINDOW]
            if not any(self._last):
                self._last.clear()

    def failed(self, now: float, failures: int, seconds: float) -> bool:
        """The engine failed. Whether it is left alone from here on, which it was not before.

        ``failures`` in a row open it, for ``seconds`` at first.
        """
        was_open = self._open_seconds > 0
        self._probing = False
        self._row += 1
        self._last.append(True)
        del self._last[:-WINDOW]
        if not failures:
            return False
        often = len(self._last) >= WINDOW and sum(self._last) * 2 > WINDOW
        if was_open or self._row >= failures or often:
            longer = self._open_seconds * 2 if was_open else seconds
            self._open_seconds = min(longer, LONGEST_SECONDS)
            self._open_until = now + self._open_seconds
            return not was_open
        return False
