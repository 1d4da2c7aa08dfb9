"""What the controller does again and again. One failed round is logged; the next one comes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from flm.tasks import Tasks

logger = logging.getLogger("flm.control.schedules")

REVISION_SECONDS = 0.5
TIDY_SECONDS = 5.0
REAP_SECONDS = 1.0
PRUNE_FIRST_SECONDS = 60.0
PRUNE_SECONDS = 86_400.0

Work = Callable[[], Awaitable[object]]


class Schedules:
    """Repeating work, each piece in a task of its own, never two rounds of one at once.

    ``sleep`` waits so many seconds; ``spread`` turns a period into one that differs a little
    each time, so that many machines do not ask together.
    """

    def __init__(
        self,
        sleep: Callable[[float], Awaitable[None]],
        spread: Callable[[float], float],
    ) -> None:
        self._sleep = sleep
        self._spread = spread
        self._tasks = Tasks()

    def every(self, seconds: float, name: str, work: Work, *, first: float | None = None) -> None:
        """Do `work` every `seconds`, the first time after `first` (None: after one period)."""
        self._tasks.start(name, self._repeat(seconds, name, work, first))

    async def _repeat(self, seconds: float, name: str, work: Work, first: float | None) -> None:
        await self._sleep(self._spread(seconds) if first is None else first)
        while True:
            try:
                await work()
            except Exception:  # a background loop: the next round may go well
                logger.exception("%s failed", name)
            await self._sleep(self._spread(seconds))

    async def stop(self) -> None:
        """End them all."""
        await self._tasks.cancel()


async def until_woken(woken: asyncio.Event, seconds: float) -> None:
    """Wait for the event, at most `seconds`, and clear it."""
    try:
        async with asyncio.timeout(seconds):
            await woken.wait()
    except TimeoutError:
        return
    finally:
        woken.clear()
