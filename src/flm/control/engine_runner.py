"""Starts and stops engines: asked to, for a request, after idle time, and to make room.

Each engine has its turn for all of that, and those of one exclusive group have one together.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial

from flm.control.backoff import Backoff
from flm.control.engine_fleet import Fleet
from flm.control.engine_process import Started
from flm.control.engine_roster import Roster
from flm.control.engine_starts import EngineStarts
from flm.control.engine_view import EngineView
from flm.control.operations import Ongoing, Operations
from flm.control.traffic import Traffic
from flm.domain.engines import EMBEDDED, EngineId, EngineKind, KnownEngine, engine_id
from flm.errors import N_, Conflict, FlmError, NotFound, NotPermitted
from flm.ports.clock import Clock
from flm.tasks import Tasks

logger = logging.getLogger("flm.control.engines")

GROUP_BUSY = "engine_group_busy"
START_FAILED = "engine_start_failed"

BRIEF_SECONDS = 2.0
"""How long an idle engine may stay withdrawn for a request that slipped in."""

STEADY_SECONDS = 60.0
"""An engine that ran for so long may be started again at once when it crashes."""

Work = Callable[[], Awaitable[None]]


class EngineRunner:
    """Who starts and stops the engines of the `fleet`.

    ``publish`` makes a snapshot of what is and returns when it is in force; ``look_again`` has
    the engines looked at soon; ``note`` remembers an engine's id for good.
    """

    def __init__(
        self,
        starts: EngineStarts,
        operations: Operations,
        traffic: Traffic,
        clock: Clock,
        publish: Work,
        look_again: Callable[[], None],
        note: Callable[[KnownEngine], Awaitable[None]],
        fleet: Fleet,
        view: EngineView,
        roster: Roster,
    ) -> None:
        self._starts = starts
        self._operations = operations
        self._traffic = traffic
        self._clock = clock
        self._publish = publish
        self._look_again = look_again
        self._note = note
        self._fleet = fleet
        self._view = view
        self._roster = roster
        self._backoff = Backoff(clock)
        self._tasks = Tasks()
        self._turns: dict[str, asyncio.Lock] = {}
        self._starting: dict[EngineId, Ongoing] = {}

    def start(self, name: str, arguments: tuple[str, ...] = ()) -> Ongoing:
        """Start an engine. What starts already is joined, what runs already is fine.

        Raises `NotFound` for a name that says no kind, `NotPermitted` where FLM cannot start it,
        `InvalidValue` for arguments that no start would take, whether there is one or not.
        """
        engine = engine_id(name)
        if engine == EMBEDDED:
            return self._nothing_to_do(
                N_("The embedded engine is always there; its models are loaded by requests."),
            )
        kind = self._view.kind(engine)
        if arguments and kind is not None:
            self._starts.check(kind, arguments)
        if (under_way := self._under_way(engine)) is not None:
            return under_way
        running = self._view.serving(engine)
        if running is not None and running.engine.address is not None:
            return self._nothing_to_do(
                N_("{engine} runs already at {url}."),
                engine=engine,
                url=running.engine.address.url,
            )
        if kind is None:
            raise NotFound(
                N_("FLM does not know what kind of engine {engine} is."),
                remedy=N_("Begin its name with its kind, for example vllm-{engine}."),
                engine=engine,
            )
        self._starts.starter(kind)
        patience = float(self._view.read.settings.server_drain_seconds)
        return self._begin(engine, kind, arguments or None, patience)

    def _under_way(self, engine: EngineId) -> Ongoing | None:
        """The start of an engine that has begun and not ended."""
        ongoing = self._starting.get(engine)
        return None if ongoing is None or ongoing.now.over else ongoing

    def _nothing_to_do(self, doing: str, **values: object) -> Ongoing:
        ongoing = self._operations.begin()
        ongoing.step(doing, **values)
        ongoing.end()
        return ongoing

    def _begin(
        self,
        engine: EngineId,
        kind: EngineKind,
        arguments: tuple[str, ...] | None,
        patience: float,
    ) -> Ongoing:
        given = arguments
        if given is None:
            given = self._view.read.settings.engine(engine).arguments or ()
        work = partial(self._bring_up, engine, kind, given, patience)
        ongoing = self._starting[engine] = self._operations.run(f"start {engine}", work)
        return ongoing

    async def awake(self, engine: EngineId, patience: float) -> None:
        """Have an engine serve because a request wants it; at once when it does.

        ``patience``: how long another engine of its group may go on with what it does, in
        seconds. Raises `FlmError` with a message for clients.
        """
        ongoing = self._under_way(engine)
        if ongoing is None:
            started = self._fleet.started.get(engine)
            if (started and started.phase == "ready") or self._view.serving(engine) is not None:
                await self._publish()
                return
            kind = self._view.startable.get(engine)
            if kind is None:
                sentence = f"The engine {engine!r} does not run."
                raise FlmError(sentence, code="engine_unavailable")
            ongoing = self._begin(engine, kind, None, patience)
        told = await ongoing.over()
        if told.failure is not None:
            logger.warning("%s was not started: %s", engine, told.failure.message)
            if told.failure.code == GROUP_BUSY:  # names engines and nothing else
                raise FlmError(told.failure.message, code=GROUP_BUSY)
            sentence = f"The engine {engine!r} could not be started; FLM's log says why."
            raise FlmError(sentence, code=START_FAILED)

    async def _bring_up(
        self,
        engine: EngineId,
        kind: EngineKind,
        arguments: tuple[str, ...],
        patience: float,
        ongoing: Ongoing,
    ) -> None:
        try:
            async with self._turn(engine):
                before = self._fleet.started.get(engine)
                if before is not None and before.phase == "ready":
                    ongoing.step(
                        N_("{engine} serves at {url}"), engine=engine, url=before.address.url
                    )
                    return
                await self._make_room(engine, patience, ongoing)
                await self._backoff.wait(engine)
                try:
                    await self._start(engine, kind, arguments, ongoing)
                except FlmError:
                    self._backoff.failed(engine)
                    raise
        finally:
            self._starting.pop(engine, None)

    async def _start(
        self, engine: EngineId, kind: EngineKind, arguments: tuple[str, ...], ongoing: Ongoing
    ) -> None:
        plan = await asyncio.to_thread(self._starts.plan, engine, kind, self._view.read, arguments)
        ongoing.step(N_("{engine} is starting at {url}"), engine=engine, url=plan.address.url)
        process = await self._starts.launch(engine, plan)
        started = self._fleet.started[engine] = Started(engine, kind, plan, process)
        try:
            await self._publish()
            seen = await self._starts.until_ready(started, self._view.read, ongoing)
            started.take(seen, self._view.thresholds())
            started.phase = "ready"
            started.since = self._clock.now()
            self._roster.remember([seen], self._view.wanted())
            self._tasks.start(f"watch {engine}", self._watch(started))
            await self._note(KnownEngine(id=engine, kind=kind, address=started.address))
            await self._publish()
        except BaseException:  # a start given up too: its process would run on, known to nobody
            await self._fleet.end(started)
            raise
        logger.info("%s is started at %s (guard %d)", engine, started.address.url, process.pid)
        ongoing.started_with(arguments)
        ongoing.step(N_("{engine} serves at {url}"), engine=engine, url=started.address.url)
        self._look_again()

    async def _watch(self, started: Started) -> None:
        """See its end: one that came unasked withdraws its targets at once."""
        started.code = await started.process.exited()
        if started.stopped or self._fleet.started.get(started.engine) is not started:
            return
        was, started.phase = started.phase, "ended"
        if self._clock.now() - started.since >= STEADY_SECONDS:
            self._backoff.forget(started.engine)
        self._backoff.failed(started.engine)
        self._traffic.came()
        logger.warning("%s ended by itself (%d)", started.engine, started.code)
        if was != "leaving":
            await self._publish()
            self._look_again()

    def stop(self, name: str) -> Ongoing:
        """Drain and stop an engine, or give up its start.

        Raises `NotPermitted` for one that FLM did not start, `NotFound` when it does not run.
        """
        engine = EngineId(name)
        if engine not in self._fleet.started and self._under_way(engine) is None:
            raise self._not_ours(engine)
        return self._operations.run(f"stop {engine}", partial(self._stop, engine))

    def _not_ours(self, engine: EngineId) -> FlmError:
        if engine == EMBEDDED:
            return NotPermitted(
                N_("The embedded engine is a part of FLM; it is not stopped by itself."),
                remedy=N_("`flm models unload` takes a model out of memory."),
            )
        seen = self._view.serving(engine)
        if seen is None:
            return NotFound(
                N_("{engine} does not run."),
                remedy=N_("`flm engines list` shows the engines that do."),
                engine=engine,
            )
        return NotPermitted(
            N_("FLM did not start {engine}, and stops only what it started."),
            remedy=N_("Stop it where it was started: its window, its app, or "
                      "`systemctl stop` with its service."),
            engine=engine,
        )  # fmt: skip

    async def _stop(self, engine: EngineId, ongoing: Ongoing) -> None:
        if (under_way := self._under_way(engine)) is not None:
            under_way.give_up()
            await under_way.over()
        async with self._turn(engine):
            started = self._fleet.started.get(engine)
            if started is not None:
                ongoing.step(N_("{engine} ends its requests"), engine=engine)
                patience = float(self._view.read.settings.server_drain_seconds)
                await self._fleet.withdraw(started, patience, firmly=True)
                ongoing.step(N_("{engine} is stopping"), engine=engine)
                await self._fleet.end(started)
            ongoing.step(self._farewell(engine), engine=engine)
        self._backoff.forget(engine)
        self._look_again()

    def _farewell(self, engine: EngineId) -> str:
        if engine not in self._view.startable:
            return N_("{engine} is stopped")
        return N_("{engine} is stopped; the next request for one of its models starts it again, "
                  "as engines.{engine}.autostart is on")  # fmt: skip

    def _turn(self, engine: EngineId) -> asyncio.Lock:
        group = self._view.read.settings.engine(engine).exclusive_group
        return self._turns.setdefault(f"group:{group}" if group else engine, asyncio.Lock())

    async def _make_room(self, engine: EngineId, patience: float, ongoing: Ongoing) -> None:
        """Have the engines of its group go. Raises `Conflict` when one cannot or will not."""
        settings = self._view.read.settings
        group = settings.engine(engine).exclusive_group
        if not group:
            return
        for name, of in settings.engines.items():
            other = EngineId(name)
            if other == engine or of.exclusive_group != group:
                continue
            started = self._fleet.started.get(other)
            if started is not None and started.phase != "ended":
                await self._make_go(started, engine, patience, ongoing)
            elif started is None and self._view.serving(other) is not None:
                raise Conflict(
                    N_("{other} runs, which FLM did not start, and only one engine of the group "
                       "{group} may."),
                    remedy=N_("Stop {other} where it was started."),
                    code=GROUP_BUSY,
                    other=other,
                    group=group,
                )  # fmt: skip

    async def _make_go(
        self, started: Started, engine: EngineId, patience: float, ongoing: Ongoing
    ) -> None:
        ongoing.step(
            N_("{other} ends its requests and makes room for {engine}"),
            other=started.engine,
            engine=engine,
        )
        await self._fleet.settled(started)
        if not await self._fleet.withdraw(started, patience):
            raise Conflict(
                N_("{other} is still busy, and {engine} may run only when it does not."),
                remedy=N_("Try again when its requests have ended."),
                code=GROUP_BUSY,
                other=started.engine,
                engine=engine,
            )
        await self._fleet.end(started)
        logger.info("%s made room for %s", started.engine, engine)

    async def tidy(self) -> None:
        """Stop what nobody has asked for since its `idle_stop` minutes."""
        for started in list(self._fleet.started.values()):
            minutes = self._view.read.settings.engine(started.engine).idle_stop
            turn = self._turn(started.engine)
            if not minutes or turn.locked() or not self._fleet.is_idle(started, minutes * 60.0):
                continue
            async with turn:
                if await self._fleet.withdraw(started, BRIEF_SECONDS):
                    await self._fleet.end(started)
                    logger.info("%s is stopped after %d idle minutes", started.engine, minutes)
                    self._look_again()

    async def close(self) -> None:
        """Stop every engine; nothing is started after this."""
        await self._tasks.cancel()
        await self._fleet.close()
