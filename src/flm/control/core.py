"""What serves once the store is open and the sockets are bound: gateway, models, journal, watch."""

from __future__ import annotations

import asyncio
import logging
import os

from flm.control.engine_watch import EngineWatch
from flm.control.gateway_process import Bound, Launch
from flm.control.journal_reader import JournalReader
from flm.control.models import EmbeddedModels, Limits
from flm.control.publisher import Identity, Publisher, Read
from flm.control.schedules import (
    DETECT_SECONDS,
    PRUNE_FIRST_SECONDS,
    PRUNE_SECONDS,
    REAP_SECONDS,
    REVISION_SECONDS,
    TIDY_SECONDS,
    Schedules,
)
from flm.control.storing import Storing
from flm.control.supervisor import Supervisor
from flm.control.worker import StoreThread
from flm.control.world import Opened, World
from flm.domain.engines import EMBEDDED
from flm.domain.keys import digest
from flm.errors import FlmError, StoreError
from flm.ports.repositories import Revisions
from flm.settings import Settings
from flm.tasks import Tasks
from flm.wire.channel import Stats, Wake

logger = logging.getLogger("flm.control")

STORE_SECONDS = 20.0
"""What the last records may take to be stored at the end; the rest waits in the journal."""

DAY = 86_400.0


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
        paths, clock = world.paths, world.clock
        launch = Launch(
            command=world.gateway,
            version=world.version,
            listeners=bound,
            journal=paths.journal,
            output=paths.controller_log.with_name("gateway.log"),
        )
        self.supervisor = Supervisor(launch, world.processes, clock, self)
        self._models = EmbeddedModels(world.launcher, clock, self.supervisor, self._publish)
        self.publisher = Publisher(
            self.supervisor,
            clock,
            world.dialects,
            self._models.running,
            Identity(opened.pepper, digest(opened.pepper, owner_key.encode())),
            read,
        )
        reader = JournalReader(paths.journal, opened.store.records, world.processes, clock)
        self._storing = Storing(reader, thread)
        self.watch = EngineWatch(
            opened.detection, self.publisher, opened.store.engines, thread, clock
        )

    async def _publish(self) -> None:
        await self.publisher.publish()

    # What the gateway reports.

    def stats_came(self, stats: Stats) -> None:
        """The gateway told how busy it is."""
        del stats
        self._models.stats_came()

    def gateway_ended(self) -> None:
        """Its process is gone: nothing is in flight, and its journal is complete."""
        self._models.stats_came()
        self._storing.grew()

    def journal_grew(self) -> None:
        """There are records to store."""
        self._storing.grew()

    def wake_wanted(self, wake: Wake) -> None:
        """A request waits for a sleeping model."""
        self._models.wake(wake)

    # Start, change, end.

    async def start(self) -> None:
        """Start the gateway and serve; returns when it has acknowledged the first snapshot."""
        self.supervisor.launch()
        await self.watch.begin()
        self._use(self.publisher.read)
        await self.publisher.publish()
        self._tasks.start("first look", self.watch.look())
        self._storing.start()
        every = self._schedules.every
        every(REVISION_SECONDS, "revisions", self._look_at_revisions)
        every(DETECT_SECONDS, "detection", self.watch.look)
        every(TIDY_SECONDS, "idle models", self._models.tidy)
        every(PRUNE_SECONDS, "pruning", self._prune, first=PRUNE_FIRST_SECONDS)
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
        self._use(self.publisher.read)
        await self.publisher.publish()
        self._refused = None
        if _engines_differ(before, read):
            self._tasks.start("look again", self.watch.look())

    def _use(self, read: Read) -> None:
        self._models.use(read.everything.files, limits(read.settings))

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

    async def _prune(self) -> None:
        settings = self.publisher.read.settings
        before = self._world.clock.now() - settings.logs_keep_days * DAY
        # Not in the store thread: removing a million records must not keep a revocation waiting.
        removed = await asyncio.to_thread(
            self._opened.store.records.prune, before, settings.logs_keep_records
        )
        if removed:
            logger.info("%d old records were removed", removed)

    async def _reap(self) -> None:
        self._world.processes.reap_orphans()

    async def stop(self, at_once: asyncio.Event) -> None:
        """Drain the gateway, end the models, store what was served. `at_once` cuts it short."""
        await self._schedules.stop()
        await self._tasks.cancel()
        grace = float(self.publisher.read.settings.server_drain_seconds)
        draining = self._tasks.start("drain", self.supervisor.stop(grace))
        hurry = self._tasks.start("end at once", _when(at_once))
        for bound in self._bound:
            bound.socket.close()
        await asyncio.wait([draining, hurry], return_when=asyncio.FIRST_COMPLETED)
        await self.supervisor.kill()
        await self._models.stop()
        await self._storing.finish(STORE_SECONDS)
        await self._tasks.cancel()


async def _when(event: asyncio.Event) -> None:
    await event.wait()


def _engines_differ(before: Read, after: Read) -> bool:
    return (
        before.everything.definitions != after.everything.definitions
        or before.everything.known != after.everything.known
        or before.settings.contexts != after.settings.contexts
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
