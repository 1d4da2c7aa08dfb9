"""Keeps one gateway alive and told: whoever publishes a snapshot knows when it is in force."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path

from flm.control.compiler import difference, renumbered
from flm.control.gateway_process import GatewayEvents, GatewayProcess, Launch
from flm.errors import N_, StartError
from flm.ports.clock import Clock
from flm.ports.processes import Processes
from flm.tasks import Tasks
from flm.wire.channel import Loads, Stats, Woken
from flm.wire.control import GatewayStatus
from flm.wire.snapshot import Snapshot

logger = logging.getLogger("flm.control.gateway")

READY_SECONDS = 10.0
FIRST_BACKOFF = 0.1
MAX_BACKOFF = 5.0
HEALTHY_AFTER = 0.5
"""A gateway that served for this long is started again at once when it ends."""

LEAVE_SECONDS = 3.0
"""What a drained gateway may take to write its last records and exit."""

START_ATTEMPTS = 3


def backoff(failures: int) -> float:
    """Seconds to wait before the next start after so many failures in a row: 0, 0.1, 0.2 … 5."""
    return 0.0 if failures <= 1 else min(FIRST_BACKOFF * 2.0 ** (failures - 2), MAX_BACKOFF)


class Supervisor:
    """The gateway of this controller, whichever process it is at the moment.

    ``restarts`` counts the processes that ended unasked.
    """

    def __init__(self, launch: Launch, processes: Processes, clock: Clock, events: GatewayEvents):
        self._launch = launch
        self._processes = processes
        self._clock = clock
        self._events = events
        self._tasks = Tasks()
        self._snapshot: Snapshot | None = None
        self._published = asyncio.Event()
        self._publishing = asyncio.Lock()
        self._ready = asyncio.Event()
        self._process: GatewayProcess | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._stopping = False
        self._failed: StartError | None = None
        self._seq = 0
        self._ever_served = False
        self._served_before = 0
        self._unrecorded_before = 0
        self.restarts = 0

    @property
    def snapshot(self) -> Snapshot | None:
        """What was published last."""
        return self._snapshot

    @property
    def process(self) -> GatewayProcess | None:
        """The process that serves, None while there is none or it is not ready."""
        return self._process if self._ready.is_set() else None

    @property
    def stats(self) -> Stats | None:
        """What the serving process told last of itself."""
        return None if self.process is None else self.process.stats

    def status(self) -> GatewayStatus:
        """What `flm proxy status` says of it."""
        if self._process is None:
            return GatewayStatus(
                pid=None,
                ready=False,
                restarts=self.restarts,
                served=self._served_before,
                unrecorded=self._unrecorded_before,
            )
        stats = self._process.stats
        return GatewayStatus(
            pid=self._process.pid,
            ready=self._ready.is_set(),
            restarts=self.restarts,
            connections=stats.connections,
            in_flight=stats.in_flight,
            served=self._served_before + stats.served,
            unrecorded=self._unrecorded_before + stats.unrecorded,
        )

    def launch(self) -> None:
        """Start the first process; it serves when the first snapshot is published."""
        self._keeping = self._tasks.start("gateway", self._keep())

    async def publish(self, snapshot: Snapshot) -> None:
        """Make `snapshot` the one in force; returns when no gateway works by an older one.

        A gateway that does not acknowledge it in time is killed. Returns too when no gateway
        comes up within `READY_SECONDS`: the next one begins with it. Raises `StartError` when
        the first gateway cannot be brought up.
        """
        async with self._publishing:
            self._snapshot = snapshot = renumbered(snapshot, self._snapshot)
            self._published.set()
            process = self._process
            if process is not None and process.sent is not None:
                await self._bring_up_to_date(process, process.sent, snapshot)
            await self._until_ready()

    async def _bring_up_to_date(
        self, process: GatewayProcess, before: Snapshot, snapshot: Snapshot
    ) -> None:
        told = await process.settled()  # a gateway takes changes when it is configured
        delta = difference(self._next(), before, snapshot, self._clock.now())
        if told and delta is not None:
            told = await process.change(delta, snapshot)
        if not told:
            self._ready.clear()
            process.kill()
            await process.ended()

    async def _until_ready(self) -> None:
        if self._stopping or self._keeping is None:
            return
        ready = self._tasks.start("gateway ready", self._wait_ready())
        await asyncio.wait([ready, self._keeping], timeout=READY_SECONDS,
                           return_when=asyncio.FIRST_COMPLETED)  # fmt: skip
        ready.cancel()
        if self._failed is not None:
            raise self._failed

    async def _wait_ready(self) -> None:
        await self._ready.wait()

    async def _keep(self) -> None:
        failures = 0
        while True:
            served, lasted = await self._run_one()
            if self._stopping:
                return
            self.restarts += 1
            failures = 1 if lasted > HEALTHY_AFTER else failures + 1
            self._ever_served = self._ever_served or served
            if not self._ever_served and failures >= START_ATTEMPTS:
                self._failed = self._failed or StartError(
                    N_("The gateway did not come up: {words}"),
                    remedy=N_("Look into {log}."),
                    words=last_words(self._launch.output),
                    log=self._launch.output,
                )
            if self._failed is not None:
                return
            await asyncio.sleep(backoff(failures))

    async def _run_one(self) -> tuple[bool, float]:
        """Start a gateway, give it the snapshot, see it end; if it served, and for how long."""
        try:
            process = await GatewayProcess.start(self._launch, self._processes, self._events)
        except OSError as error:
            logger.error("the gateway cannot be started: %s", error)
            return False, 0.0
        self._process = process
        served = False
        try:
            served = await self._introduce(process)
        except StartError as error:
            self._failed = error
        finally:
            began = self._clock.monotonic()
            if not served:
                process.kill()
            code = await self._until_ended(process)
        if not self._stopping:
            logger.warning("gateway %d ended with %d", process.pid, code)
        return served, self._clock.monotonic() - began if served else 0.0

    async def _introduce(self, process: GatewayProcess) -> bool:
        if not await process.greeted():
            return False
        await self._published.wait()
        assert self._snapshot is not None, "published"
        if not await process.configure(self._next(), self._snapshot):
            return False
        self._ready.set()
        logger.info("gateway %d serves", process.pid)
        return True

    async def _until_ended(self, process: GatewayProcess) -> int:
        try:
            return await process.ended()
        finally:
            self._ready.clear()
            self._process = None
            self._served_before += process.stats.served
            self._unrecorded_before += process.stats.unrecorded
            self._events.gateway_ended()

    def woken(self, message: Woken) -> None:
        """Pass on how a `Wake` ended to the gateway that serves now."""
        if self._process is not None:
            self._process.woken(message)

    def loads(self, message: Loads) -> None:
        """Tell the gateway that serves now how busy the engines are."""
        if self._process is not None:
            self._process.loads(message)

    def _next(self) -> int:
        self._seq += 1
        return self._seq

    async def failure(self) -> StartError | None:
        """Wait until no gateway is kept any more; why, or None when that was asked for."""
        if self._keeping is not None:
            await asyncio.wait([self._keeping])
        return self._failed

    async def stop(self, grace: float) -> None:
        """Let the gateway finish within `grace` seconds and leave; returns when it is gone."""
        self._stopping = True
        process = self._process
        if process is not None:
            process.drain(grace)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace + LEAVE_SECONDS):
                    await process.ended()
        await self.kill()

    async def kill(self) -> None:
        """End the gateway at once."""
        self._stopping = True
        if self._process is not None:
            self._process.kill()
            await self._process.ended()
        await self._tasks.cancel()


def last_words(log: Path, size: int = 2000) -> str:
    """The last lines of a log file."""
    try:
        text = log.read_bytes()[-size:].decode(errors="replace").strip()
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-5:])
