"""Starts and stops engines: asked to, for a request, after idle time, and to make room.

An engine goes in this order, so that no request is lost: its targets are withdrawn (acknowledged
by the gateway), what is in flight ends, the engine is stopped. A request that comes meanwhile
finds the target asleep and wakes it; that waits its turn here. Engines of one exclusive group
have one turn together.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import partial

from flm.control.backoff import Backoff
from flm.control.engine_process import Started
from flm.control.engine_roster import Roster
from flm.control.engine_starts import EngineStarts, kind_of
from flm.control.operations import Ongoing, Operations
from flm.control.publisher import Arrangement, Read
from flm.control.traffic import Traffic
from flm.domain.engines import (
    EMBEDDED,
    EngineId,
    EngineKind,
    KnownEngine,
    NetworkError,
    engine_id,
    serves,
)
from flm.errors import N_, Conflict, FlmError, NotFound, NotPermitted
from flm.ports.clock import Clock
from flm.ports.engines import Sighting
from flm.services.engine_states import Thresholds
from flm.tasks import Tasks

logger = logging.getLogger("flm.control.engines")

GROUP_BUSY = "engine_group_busy"
START_FAILED = "engine_start_failed"

BRIEF_SECONDS = 2.0
"""How long an idle engine may stay withdrawn for a request that slipped in."""

SETTLE_SECONDS = 1.0
"""An engine that was just started is not made to go before those who waited for it reached it."""

STEADY_SECONDS = 60.0
"""An engine that ran for so long may be started again at once when it crashes."""

Work = Callable[[], Awaitable[None]]


class EngineRunner:
    """The engines that this controller started.

    ``publish`` makes a snapshot of what `arranged` says and returns when it is in force;
    ``look_again`` has the engines looked at soon; ``note`` remembers an engine's id for good.
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
        read: Read,
    ) -> None:
        self._starts = starts
        self._operations = operations
        self._traffic = traffic
        self._clock = clock
        self._publish = publish
        self._look_again = look_again
        self._note = note
        self._read = read
        self._roster = Roster()
        self._backoff = Backoff(clock)
        self._tasks = Tasks()
        self._turns: dict[str, asyncio.Lock] = {}
        self._started: dict[EngineId, Started] = {}
        self._starting: dict[EngineId, Ongoing] = {}
        self._startable: dict[EngineId, EngineKind] = {}
        self._seen: tuple[Sighting, ...] = ()

    # What there is.

    def arranged(self, seen: Sequence[Sighting]) -> Arrangement:
        """What detection saw, with what was started and what can be."""
        return self._roster.arrange(seen, self._started, self._startable, self._clock.now())

    def keys(self) -> dict[str, str]:
        """The keys of the engines that were started, by id."""
        return {
            id_: started.plan.key
            for id_, started in self._started.items()
            if started.plan.key is not None
        }

    def recall(self, cached: Sequence[Sighting]) -> None:
        """Take the models that an earlier controller saw."""
        self._roster.remember(cached, self._wanted())

    async def use(self, read: Read) -> None:
        """Take the settings of now; which engines a request may start follows from them."""
        self._read = read
        self._startable = await self._survey()

    def _wanted(self) -> set[EngineId]:
        """The engines that the user lets requests start."""
        return {
            EngineId(engine) for engine, of in self._read.settings.engines.items() if of.autostart
        }

    async def _survey(self) -> dict[EngineId, EngineKind]:
        found: dict[EngineId, EngineKind] = {}
        for engine in sorted(self._wanted()):
            kind = kind_of(engine, self._read, self._seen)
            if kind is None or engine == EMBEDDED:
                continue
            arguments = self._read.settings.engine(engine).arguments or ()
            obstacle = await asyncio.to_thread(
                self._starts.obstacle, engine, kind, self._read, arguments
            )
            if obstacle is None:
                found[engine] = kind
            elif engine in self._startable:
                logger.warning("%s cannot be started any more: %s", engine, obstacle)
        return found

    async def looked(self, seen: Sequence[Sighting], began: float) -> tuple[Sighting, ...]:
        """Detection saw these in a look that began at `began` (UTC seconds): look at those that
        were started too, and put all together."""
        ready = [each for each in self._started.values() if each.phase == "ready"]
        looks = await asyncio.gather(*(self._starts.describe(each, self._read) for each in ready))
        for started, sighting in zip(ready, looks, strict=True):
            started.take(sighting, self._thresholds())
        self._seen = tuple(seen)
        self._startable = await self._survey()
        self._roster.looked(began)
        sightings = self.arranged(seen).sightings
        self._roster.remember(
            (each for each in sightings if serves(each.engine.state)), self._wanted()
        )
        return sightings

    async def looked_again(
        self, seen: Sequence[Sighting], engines: Collection[EngineId]
    ) -> tuple[Sighting, ...]:
        """Some of what detection saw has changed: look again at those of `engines` that were
        started, and put all together. Silence waits for the next `looked`."""
        self._seen = tuple(seen)
        ready = [
            each for id_, each in self._started.items() if each.phase == "ready" and id_ in engines
        ]
        looks = await asyncio.gather(*(self._starts.describe(each, self._read) for each in ready))
        for started, sighting in zip(ready, looks, strict=True):
            if not isinstance(sighting.engine.state, NetworkError):
                started.take(sighting, self._thresholds())
        return self.arranged(self._seen).sightings

    def _thresholds(self) -> Thresholds:
        settings = self._read.settings
        return Thresholds(
            latency_ms=float(settings.engine_health_latency_threshold_ms),
            network_failures=settings.engine_max_network_failures,
        )

    def _serving(self, engine: EngineId) -> Sighting | None:
        """How it is seen, if it serves."""
        for sighting in self.arranged(self._seen).sightings:
            if sighting.engine.id == engine and serves(sighting.engine.state):
                return sighting
        return None

    # Start.

    def start(self, name: str, arguments: tuple[str, ...] = ()) -> Ongoing:
        """Start an engine. What starts already is joined, what runs already is fine.

        Raises `NotFound` for a name that says no kind, `NotPermitted` where FLM cannot start it.
        """
        engine = engine_id(name)
        if engine == EMBEDDED:
            return self._nothing_to_do(
                N_("The embedded engine is always there; its models are loaded by requests."),
            )
        if (under_way := self._under_way(engine)) is not None:
            return under_way
        running = self._serving(engine)
        if running is not None and running.engine.address is not None:
            return self._nothing_to_do(
                N_("{engine} runs already at {url}."),
                engine=engine,
                url=running.engine.address.url,
            )
        kind = kind_of(engine, self._read, self._seen)
        if kind is None:
            raise NotFound(
                N_("FLM does not know what kind of engine {engine} is."),
                remedy=N_("Begin its name with its kind, for example vllm-{engine}."),
                engine=engine,
            )
        self._starts.starter(kind)
        patience = float(self._read.settings.server_drain_seconds)
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
            given = self._read.settings.engine(engine).arguments or ()
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
            started = self._started.get(engine)
            if (started and started.phase == "ready") or self._serving(engine) is not None:
                await self._publish()
                return
            kind = self._startable.get(engine)
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
                before = self._started.get(engine)
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
        plan = await asyncio.to_thread(self._starts.plan, engine, kind, self._read, arguments)
        ongoing.step(N_("{engine} is starting at {url}"), engine=engine, url=plan.address.url)
        process = await self._starts.launch(engine, plan)
        started = self._started[engine] = Started(engine, kind, plan, process)
        try:
            await self._publish()
            seen = await self._starts.until_ready(started, self._read, ongoing)
            started.take(seen, self._thresholds())
            started.phase = "ready"
            started.since = self._clock.now()
            self._roster.remember([seen], self._wanted())
            self._tasks.start(f"watch {engine}", self._watch(started))
            await self._note(KnownEngine(id=engine, kind=kind, address=started.address))
            await self._publish()
        except BaseException:
            await self._end(started)
            raise
        logger.info("%s is started at %s (guard %d)", engine, started.address.url, process.pid)
        ongoing.step(N_("{engine} serves at {url}"), engine=engine, url=started.address.url)
        self._look_again()

    async def _watch(self, started: Started) -> None:
        """See its end: one that came unasked withdraws its targets at once."""
        started.code = await started.process.exited()
        if started.stopped or self._started.get(started.engine) is not started:
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

    # Stop.

    def stop(self, name: str) -> Ongoing:
        """Drain and stop an engine, or give up its start.

        Raises `NotPermitted` for one that FLM did not start, `NotFound` when it does not run.
        """
        engine = EngineId(name)
        if engine not in self._started and self._under_way(engine) is None:
            raise self._not_ours(engine)
        return self._operations.run(f"stop {engine}", partial(self._stop, engine))

    def _not_ours(self, engine: EngineId) -> FlmError:
        if engine == EMBEDDED:
            return NotPermitted(
                N_("The embedded engine is a part of FLM; it is not stopped by itself."),
                remedy=N_("`flm models unload` takes a model out of memory."),
            )
        seen = self._serving(engine)
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
            started = self._started.get(engine)
            if started is None:
                return
            ongoing.step(N_("{engine} ends its requests"), engine=engine)
            patience = float(self._read.settings.server_drain_seconds)
            await self._withdraw(started, patience, firmly=True)
            ongoing.step(N_("{engine} is stopping"), engine=engine)
            await self._end(started)
            ongoing.step(N_("{engine} is stopped"), engine=engine)
        self._backoff.forget(engine)
        self._look_again()

    async def _withdraw(self, started: Started, patience: float, *, firmly: bool = False) -> bool:
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

    async def _end(self, started: Started) -> None:
        """Stop the process; nothing is sent to it any more."""
        started.stopped = True
        try:
            await started.process.stop()
        finally:
            if self._started.get(started.engine) is started:
                del self._started[started.engine]
            self._roster.stopped(started.engine, started.address, self._clock.now())
        await self._publish()

    def _in_flight(self, started: Started) -> int:
        return self._traffic.of_engine(started.engine).in_flight

    def _last_use(self, started: Started) -> float:
        return max(started.since, self._traffic.of_engine(started.engine).last_use)

    # One at a time.

    def _turn(self, engine: EngineId) -> asyncio.Lock:
        group = self._read.settings.engine(engine).exclusive_group
        return self._turns.setdefault(f"group:{group}" if group else engine, asyncio.Lock())

    async def _make_room(self, engine: EngineId, patience: float, ongoing: Ongoing) -> None:
        """Have the engines of its group go. Raises `Conflict` when one cannot or will not."""
        settings = self._read.settings
        group = settings.engine(engine).exclusive_group
        if not group:
            return
        for name, of in settings.engines.items():
            other = EngineId(name)
            if other == engine or of.exclusive_group != group:
                continue
            started = self._started.get(other)
            if started is not None and started.phase != "ended":
                await self._make_go(started, engine, patience, ongoing)
            elif started is None and self._serving(other) is not None:
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
        await self._settled(started)
        if not await self._withdraw(started, patience):
            raise Conflict(
                N_("{other} is still busy, and {engine} may run only when it does not."),
                remedy=N_("Try again when its requests have ended."),
                code=GROUP_BUSY,
                other=started.engine,
                engine=engine,
            )
        await self._end(started)
        logger.info("%s made room for %s", started.engine, engine)

    async def _settled(self, started: Started) -> None:
        """Those who waited for it have reached it, or had time to."""
        left = started.since + SETTLE_SECONDS - self._clock.now()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(max(left, 0.0), SETTLE_SECONDS)):
                await self._traffic.until(
                    lambda: self._in_flight(started) > 0 or self._last_use(started) > started.since
                )

    async def tidy(self) -> None:
        """Stop what nobody has asked for since its `idle_stop` minutes."""
        for started in list(self._started.values()):
            minutes = self._read.settings.engine(started.engine).idle_stop
            turn = self._turn(started.engine)
            if not minutes or turn.locked() or not self._is_idle(started, minutes * 60.0):
                continue
            async with turn:
                if await self._withdraw(started, BRIEF_SECONDS):
                    await self._end(started)
                    logger.info("%s is stopped after %d idle minutes", started.engine, minutes)
                    self._look_again()

    def _is_idle(self, started: Started, seconds: float) -> bool:
        quiet = self._clock.now() - self._last_use(started) >= seconds
        return started.phase == "ready" and quiet and not self._in_flight(started)

    async def close(self) -> None:
        """Stop every engine; nothing is started after this."""
        await self._tasks.cancel()
        started, self._started = list(self._started.values()), {}
        await asyncio.gather(*(each.process.stop() for each in started))
