"""What serves once the store is open and the sockets are bound: gateway, engines, journal."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Mapping, Sequence

from flm.control.compiler import Running
from flm.control.engine_fleet import Fleet
from flm.control.engine_loads import LOAD_SECONDS, EngineLoads
from flm.control.engine_roster import Roster
from flm.control.engine_runner import EngineRunner
from flm.control.engine_starts import EngineStarts
from flm.control.engine_view import EngineView
from flm.control.engine_watch import TURN_SECONDS, EngineWatch, Kept
from flm.control.gateway_process import Bound, Launch
from flm.control.journal_reader import JournalReader
from flm.control.model_loads import ModelLoads
from flm.control.models import EmbeddedModels, Limits
from flm.control.operations import Operations
from flm.control.pruning import Pruning
from flm.control.publisher import Arrangement, Identity, Publisher, Read
from flm.control.resolving import RENEW_SECONDS, Resolving
from flm.control.response_keeping import ResponseKeeping
from flm.control.schedules import (
    PRUNE_FIRST_SECONDS,
    PRUNE_SECONDS,
    REAP_SECONDS,
    REVISION_SECONDS,
    TIDY_SECONDS,
    Schedules,
)
from flm.control.storing import Storing
from flm.control.supervisor import Supervisor
from flm.control.traffic import Traffic
from flm.control.wakes import Wakes
from flm.control.worker import StoreThread
from flm.control.world import Opened, World
from flm.domain.engines import EMBEDDED, Engine, EngineId, KnownEngine
from flm.domain.keys import digest
from flm.errors import FlmError, StoreError
from flm.ports.engines import Sighting
from flm.ports.repositories import Revisions
from flm.settings import Settings
from flm.tasks import Tasks
from flm.wire.channel import Keeping, Stats, Told, Wake

logger = logging.getLogger("flm.control")

STORE_SECONDS = 20.0
"""What the last records may take to be stored at the end; the rest waits in the journal."""


class Core:
    """The working parts of a started controller, and the events between them."""

    def __init__(
        self,
        world: World,
        opened: Opened,
        read: Read,
        thread: StoreThread,
        bound: tuple[Bound, ...],
        owner_key: str,
    ) -> None:
        self._world = world
        self._opened = opened
        self._thread = thread
        self._bound = bound
        self._tasks = Tasks()
        self._schedules = Schedules(asyncio.sleep, world.spread)
        self._refused: Revisions | None = None
        self._ending = False
        paths, clock = world.paths, world.clock
        self.supervisor = Supervisor(_launch(world, bound), world.processes, clock, self)
        self._traffic = Traffic(self.supervisor, clock)
        self._models = EmbeddedModels(world.launcher, clock, self._traffic, self._publish)
        self.operations = Operations(_random(world, 8))
        roster = Roster()
        self._fleet = Fleet(self._traffic, clock, self._publish, roster)
        starts = EngineStarts(world.engines, world.processes, lambda: _random(world, 32))
        self._view = EngineView(starts, self._fleet, roster, clock, read)
        self.runner = self._make_runner(starts, roster)
        self._wakes = Wakes(self.supervisor, self._awaken)
        self.publisher = self._make_publisher(read, owner_key)
        reader = JournalReader(paths.journal, opened.store.records, world.processes, clock)
        self._storing = Storing(reader, thread)
        self._responses = ResponseKeeping(
            opened.store.responses, opened.secrets, thread, clock, lambda: self.publisher.read
        )
        self._pruning = Pruning(
            opened.store, self._responses, clock, lambda: self.publisher.read.settings
        )
        self.watch = self._make_watch()
        self._busy = EngineLoads(
            world.engines,
            self._traffic,
            self.publisher.sightings,
            self.publisher.engine_keys,
            self.supervisor.loads,
        )
        self.loads = ModelLoads(
            self.operations,
            self._models,
            self.publisher,
            world.engines,
            self._traffic,
            self.watch.look,
        )

    def _make_runner(self, starts: EngineStarts, roster: Roster) -> EngineRunner:
        async def note(known: KnownEngine) -> None:
            await self._thread.run(self._opened.store.engines.note, [known])

        return EngineRunner(
            starts,
            self.operations,
            self._traffic,
            self._world.clock,
            self._publish,
            self._look_again,
            note,
            self._fleet,
            self._view,
            roster,
        )

    def _make_publisher(self, read: Read, owner_key: str) -> Publisher:
        world, pepper = self._world, self._opened.pepper
        return Publisher(
            self.supervisor,
            world.clock,
            world.dialects,
            _Changing(self._models, self._fleet, self._view, world.names),
            Identity(pepper, digest(pepper, owner_key.encode())),
            read,
            {kind: each.traits.asked for kind, each in world.engines.adapters.items()},
        )

    def _make_watch(self) -> EngineWatch:
        store = self._opened.store
        return EngineWatch(
            self._opened.detection,
            self.publisher,
            self._view,
            Kept(store.engines, store.health),
            self._thread,
            self._world.clock,
            self._world.spread,
        )

    async def _publish(self) -> None:
        await self.publisher.publish()

    def _look_again(self) -> None:
        if not self._ending:
            self._tasks.start("look again", self.watch.look())

    async def _awaken(self, wake: Wake) -> None:
        engine, _, model = wake.target.partition("/")
        if engine == EMBEDDED:
            await self._models.load(model, wake.deadline)
        else:
            await self.runner.awake(EngineId(engine), wake.deadline)

    def engines(self) -> tuple[Engine, ...]:
        """The engines as they were seen last, with how busy they are."""
        return self._busy.completed(self.publisher.engines())

    # What the gateway reports.

    def stats_came(self, stats: Stats) -> None:
        """The gateway told how busy it is."""
        self._traffic.came()
        if stats.suspects and not self._ending:
            self._tasks.start("suspects", self.watch.suspect(stats.suspects))

    def gateway_ended(self) -> None:
        """Its process is gone: nothing is in flight, and its journal is complete."""
        self._traffic.came()
        self._storing.grew()

    def journal_grew(self) -> None:
        """There are records to store."""
        self._storing.grew()

    def wake_wanted(self, wake: Wake) -> None:
        """A request waits for what sleeps."""
        self._wakes.wake(wake)

    def response_asked(self, message: Keeping, tell: Callable[[Told], None]) -> None:
        """A response is to be kept, recalled or forgotten."""
        self._responses.asked(message, tell)

    # Start, change, end.

    async def start(self) -> None:
        """Start the gateway and serve; returns when it has acknowledged the first snapshot."""
        self.supervisor.launch()
        await self.watch.begin()
        await self._use(self.publisher.read)
        await self.publisher.publish()
        self._tasks.start("first names", self._renew_names())
        self._tasks.start("first look", self.watch.look())
        self._tasks.start("leftovers", self._world.engines.launcher.sweep())
        self._storing.start()
        every = self._schedules.every
        every(REVISION_SECONDS, "revisions", self._look_at_revisions)
        every(TURN_SECONDS, "engines", self.watch.turn)
        every(LOAD_SECONDS, "engine loads", self._busy.turn)
        every(RENEW_SECONDS, "names", self._renew_names)
        every(TIDY_SECONDS, "idle models", self._models.tidy)
        every(TIDY_SECONDS, "idle engines", self.runner.tidy)
        every(PRUNE_SECONDS, "pruning", self._pruning.turn, first=PRUNE_FIRST_SECONDS)
        if os.getpid() == 1:
            every(REAP_SECONDS, "orphans", self._reap)

    async def refresh(self) -> None:
        """Read the store and publish what came of it; returns when every gateway works by it.

        Raises `StoreError`, and `InvalidValue` when what is stored does not compile: the old
        snapshot stays in force.
        """
        before = self.publisher.read
        read = await self._thread.run(self._opened.reader.read)
        self.publisher.take(read)
        await self._use(self.publisher.read)
        await self.publisher.publish()
        self._refused = None
        if before.everything.keys != read.everything.keys:
            self._tasks.start("revoked keys", self._responses.forget_revoked())
        if _engines_differ(before, read):
            self._look_again()

    async def _use(self, read: Read) -> None:
        self._models.use(read.everything.files, limits(read.settings))
        await self._view.use(read)

    async def _look_at_revisions(self) -> None:
        revisions = await self._thread.run(self._opened.store.revisions)
        if revisions in (self.publisher.read.everything.revisions, self._refused):
            return
        try:
            await self.refresh()
        except StoreError:
            raise
        except FlmError as error:
            self._refused = revisions
            logger.warning("a change is not applied: %s", error)

    async def _renew_names(self) -> None:
        """Follow the names of engines to where they lead now."""
        if await self._world.names.renew(self.publisher.hosts()):
            await self.publisher.publish()

    async def _reap(self) -> None:
        self._world.processes.reap_orphans()

    async def stop(self, at_once: asyncio.Event) -> None:
        """Drain the gateway, end the models, store what was served. `at_once` cuts it short."""
        self._ending = True
        await self._schedules.stop()
        await self._tasks.cancel()
        grace = float(self.publisher.read.settings.server_drain_seconds)
        draining = self._tasks.start("drain", self.supervisor.stop(grace))
        hurry = self._tasks.start("end at once", _when(at_once))
        for bound in self._bound:
            bound.socket.close()
        await asyncio.wait([draining, hurry], return_when=asyncio.FIRST_COMPLETED)
        await self.supervisor.kill()
        await self._wakes.stop()
        await self._responses.stop()
        await self.operations.stop()
        await asyncio.gather(self._models.stop(), self.runner.close())
        await self._storing.finish(STORE_SECONDS)
        await self._world.names.close()
        await self._tasks.cancel()


class _Changing:
    """What runs by our own doing, as the publisher asks for it."""

    def __init__(
        self, models: EmbeddedModels, fleet: Fleet, view: EngineView, names: Resolving
    ) -> None:
        self._models = models
        self._fleet = fleet
        self._view = view
        self._names = names

    def running(self) -> dict[str, Running]:
        """The embedded models that are loaded, by name."""
        return self._models.running()

    def arranged(self, seen: Sequence[Sighting]) -> Arrangement:
        """What was seen, with the engines that were started and those that can be."""
        return self._view.arranged(seen)

    def keys(self) -> dict[str, str]:
        """The keys of the engines that were started, by id."""
        return self._fleet.keys()

    def located(self) -> Mapping[str, str]:
        """Where the names of engines lead: name → IP address."""
        return self._names.located()


def _launch(world: World, bound: tuple[Bound, ...]) -> Launch:
    return Launch(
        command=world.gateway,
        version=world.version,
        listeners=bound,
        journal=world.paths.journal,
        output=world.paths.controller_log.with_name("gateway.log"),
    )


def _random(world: World, length: int) -> str:
    return "".join(world.choice("0123456789abcdef") for _ in range(length))


async def _when(event: asyncio.Event) -> None:
    await event.wait()


def _engines_differ(before: Read, after: Read) -> bool:
    return (
        before.everything.definitions != after.everything.definitions
        or before.everything.known != after.everything.known
        or before.settings.engines != after.settings.engines
        or before.settings.engines_ollama_cloud != after.settings.engines_ollama_cloud
    )


def limits(settings: Settings) -> Limits:
    """The settings of the embedded engine."""
    return Limits(
        max_loaded=settings.embedded_max_loaded,
        idle_seconds=settings.embedded_idle_minutes * 60.0,
        threads=settings.embedded_threads,
        parallel=settings.embedded_parallel,
        contexts=settings.num_ctx(EMBEDDED),
    )
