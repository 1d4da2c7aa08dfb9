"""Time as a port, so that tests own it."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """The two times there are."""

    def now(self) -> float:
        """UTC seconds since the epoch."""
        ...

    def monotonic(self) -> float:
        """Seconds that never jump."""
        ...


class SystemClock:
    """The machine's clocks, without a call in between: they are read often."""

    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)
