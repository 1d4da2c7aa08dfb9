"""Engines that this controller starts: what they are run by, and one of them from start to end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import msgspec

from flm.domain.engines import (
    STARTING,
    Address,
    Degraded,
    Engine,
    EngineId,
    EngineKind,
    EngineState,
    NetworkError,
)
from flm.domain.models import Model
from flm.domain.reasons import ENDED, KILLED
from flm.ports.engines import EngineAdapter, LaunchPlan, Prober, Sighting
from flm.ports.machine import Machine
from flm.services.engine_states import Health, Thresholds, judge


class EngineProcess(Protocol):
    """A started engine under its guard. Whatever ends it ends everything that came of it."""

    @property
    def pid(self) -> int:
        """The guard's process id."""
        ...

    async def exited(self) -> int:
        """Wait for its end; its exit code, negative when the guard was killed."""
        ...

    async def stop(self) -> None:
        """End it and wait; never raises when it is gone already."""
        ...

    def lines(self, count: int) -> tuple[str, ...]:
        """The last lines that it wrote."""
        ...

    def text(self) -> str:
        """What it wrote since it was started, the end of it."""
        ...


class EngineLauncher(Protocol):
    """Starts engines under guards."""

    async def launch(self, engine: EngineId, plan: LaunchPlan) -> EngineProcess:
        """Start it; that it runs is all that is known then. Raises `OSError`.

        Must be called from the main thread (Linux's parent-death signal).
        """
        ...

    async def sweep(self) -> None:
        """End what an earlier controller left that was killed together with its guards."""
        ...


@dataclass(frozen=True, kw_only=True)
class EngineMeans:
    """What engines are started, asked and changed with."""

    adapters: Mapping[EngineKind, EngineAdapter]
    machine: Machine
    prober: Prober
    launcher: EngineLauncher


Phase = Literal["starting", "ready", "leaving", "ended"]


class Started:
    """An engine that this controller started. ``since``: when it was ready (UTC seconds).

    ``phase`` `ended`: it went by itself, and is reported until it is started or stopped again.
    ``stopped``: its end was asked for.
    """

    def __init__(
        self, engine: EngineId, kind: EngineKind, plan: LaunchPlan, process: EngineProcess
    ) -> None:
        self.engine = engine
        self.kind = kind
        self.plan = plan
        self.process = process
        self.address: Address = plan.address
        self.phase: Phase = "starting"
        self.since = 0.0
        self.code = 0
        self.stopped = False
        self._health: Health | None = None
        self._seen: Sighting | None = None

    def take(self, seen: Sighting, thresholds: Thresholds) -> None:
        """It was looked at: its state follows from that and from what it was before."""
        self._health = judge(seen.engine.state, self._health, thresholds)
        silent = isinstance(seen.engine.state, NetworkError)
        models = self._seen.models if silent and self._seen is not None else seen.models
        engine = msgspec.structs.replace(seen.engine, state=self._health.state)
        self._seen = Sighting(engine, models)

    def sighting(self, remembered: tuple[Model, ...], now: float) -> Sighting:
        """As it is at `now`. ``remembered``: the models it had when it served last."""
        seen = self._seen
        base = Engine(id=self.engine, kind=self.kind, state=Degraded(0.0, STARTING))
        engine = msgspec.structs.replace(
            seen.engine if seen is not None else base,
            id=self.engine,
            address=self.address,
            owned=True,
            source="detected",
            checked_at=now,
        )
        if self.phase in ("starting", "ended"):
            engine = msgspec.structs.replace(engine, state=self._state())
        return Sighting(engine, seen.models if seen is not None else remembered)

    def _state(self) -> EngineState:
        if self.phase == "ended":
            return NetworkError(ending(self.code), 1)
        return Degraded(0.0, STARTING)


def ending(code: int) -> str:
    """What an exit code means; the kernel kills with 9 what takes too much memory."""
    if code in (-9, 137):
        return KILLED
    return ENDED.format(code=code)
