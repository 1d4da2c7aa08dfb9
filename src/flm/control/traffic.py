"""How busy targets are, as the gateway last told, and waiting until they are not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol

from flm.ports.clock import Clock
from flm.wire.channel import Stats, TargetStats

_IDLE = TargetStats(0, 0.0)


class Gateway(Protocol):
    """What is asked of the gateway."""

    @property
    def stats(self) -> Stats | None:
        """What it told last, None while none serves: then nothing is in flight."""
        ...


class Traffic:
    """The gateway's figures. It tells them before it acknowledges that a target is withdrawn, so
    that "nothing in flight" is true once a withdrawal is in force.

    Last uses outlive the gateway that told them, and what was in flight when it ended was in use
    until then: its successor knows of neither, and what was just used would seem idle.
    """

    def __init__(self, gateway: Gateway, clock: Clock) -> None:
        self._gateway = gateway
        self._clock = clock
        self._heard: asyncio.Event = asyncio.Event()
        self._told: Mapping[str, TargetStats] = {}
        self._used: dict[str, float] = {}  # before this gateway; bounded by the targets there are

    def came(self) -> None:
        """The gateway told how busy it is, or is gone, or something else has changed."""
        self._figures()
        self._heard.set()
        self._heard = asyncio.Event()

    def _figures(self) -> Mapping[str, TargetStats]:
        stats = self._gateway.stats
        if stats is not None:
            self._told = stats.targets
        elif self._told:
            now = self._clock.now()
            for target, last in self._told.items():
                self._used[target] = now if last.in_flight else last.last_use
            self._told = {}
        return self._told

    def of(self, target: str) -> TargetStats:
        """The figures of one target."""
        figures = self._figures().get(target, _IDLE)
        used = self._used.get(target, 0.0)
        return figures if figures.last_use >= used else TargetStats(figures.in_flight, used)

    def of_engine(self, engine: str) -> TargetStats:
        """The figures of all targets of an engine together."""
        prefix = f"{engine}/"  # an engine's id holds no slash
        targets = {*self._figures(), *self._used}
        own = [self.of(target) for target in targets if target.startswith(prefix)]
        return TargetStats(
            sum(figures.in_flight for figures in own),
            max((figures.last_use for figures in own), default=0.0),
        )

    async def until(self, fact: Callable[[], bool]) -> None:
        """Wait until `fact` holds, which only changes when `came` is called."""
        while not fact():
            await self._heard.wait()
