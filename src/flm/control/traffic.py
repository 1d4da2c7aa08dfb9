"""How busy targets are, as the gateway last told, and waiting until they are not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

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
    that "nothing in flight" is true once a withdrawal is in force."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._heard: asyncio.Event = asyncio.Event()

    def came(self) -> None:
        """The gateway told how busy it is, or is gone, or something else has changed."""
        self._heard.set()
        self._heard = asyncio.Event()

    def of(self, target: str) -> TargetStats:
        """The figures of one target."""
        stats = self._gateway.stats
        return _IDLE if stats is None else stats.targets.get(target, _IDLE)

    def of_engine(self, engine: str) -> TargetStats:
        """The figures of all targets of an engine together."""
        stats = self._gateway.stats
        prefix = f"{engine}/"  # an engine's id holds no slash
        own = [
            figures
            for target, figures in (stats.targets.items() if stats is not None else ())
            if target.startswith(prefix)
        ]
        return TargetStats(
            sum(figures.in_flight for figures in own),
            max((figures.last_use for figures in own), default=0.0),
        )

    async def until(self, fact: Callable[[], bool]) -> None:
        """Wait until `fact` holds, which only changes when `came` is called."""
        while not fact():
            await self._heard.wait()
