"""The engines that this controller started, and how they go so that no request is lost.

An engine goes in this order: its targets are withdrawn (acknowledged by the gateway), what is in
flight ends, the engine is stopped. A request that comes meanwhile finds the target asleep and
wakes it; that waits its turn.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from flm.control.engine_process import Started
from flm.control.engine_roster import Roster
from flm.control.traffic import Traffic
from flm.domain.engines import EngineId
from flm.ports.clock import Clock

SETTLE_SECONDS = 1.0
"""An engine that was just started is not made to go before those who waited for it reached it."""


class Fleet:
    """``publish`` makes a snapshot of what is and returns when it is in force."""

    def __init__(
        self,
        traffic: Traffic,
        clock: Clock,
        publish: Callable[[], Awaitable[None]],
        roster: Roster,
    ) -> None:
        self._traffic = traffic
        self._clock = clock
        self._publish = publish
        self._roster = roster
        self.started: dict[EngineId, Started] = {}

    def keys(self) -> dict[str, str]:
        """The keys of the engines that were started, by id."""
        return {
            id_: started.plan.key
            for id_, started in self.started.items()
            if started.plan.key is not None
        }

    async def withdraw(self, started: Started, patience: float, *, firmly: bool = False) -> bool:
        """Send no request there any more and wait for those that run.

        False when some still do after `patience` seconds: then it serves on, unless `firmly`.
        """
        stays = started.phase == "ready"
        if stays:
            started.phase = "leaving"
        try:
            await self._publish()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await self._traffic.until(
                        lambda: started.phase == "ended" or not self._in_flight(started)
                    )
                    stays = False
            stays = stays and not firmly
        finally:
            if stays and started.phase == "leaving":
                started.phase = "ready"
                await self._publish()
        return not stays

    async def end(self, started: Started) -> None:
        """Stop the process; nothing is sent to it any more."""
        started.stopped = True
        try:
            await started.process.stop()
        finally:
            if self.started.get(started.engine) is started:
                del self.started[started.engine]
            self._roster.stopped(started.engine, started.address, self._clock.now())
        await self._publish()

    def _in_flight(self, started: Started) -> int:
        return self._traffic.of_engine(started.engine).in_flight

    def _last_use(self, started: Started) -> float:
        return max(started.since, self._traffic.of_engine(started.engine).last_use)

    async def settled(self, started: Started) -> None:
        """Those who waited for it have reached it, or had time to."""
        left = started.since + SETTLE_SECONDS - self._clock.now()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(max(left, 0.0), SETTLE_SECONDS)):
                await self._traffic.until(
                    lambda: self._in_flight(started) > 0 or self._last_use(started) > started.since
                )

    def is_idle(self, started: Started, seconds: float) -> bool:
        """Whether it serves and nobody has asked for it for so long."""
        quiet = self._clock.now() - self._last_use(started) >= seconds
        return started.phase == "ready" and quiet and not self._in_flight(started)

    async def close(self) -> None:
        """Stop every engine."""
        started, self.started = list(self.started.values()), {}
        for each in started:
            each.stopped = True
        await asyncio.gather(*(each.process.stop() for each in started))
