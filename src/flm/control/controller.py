"""The controller: what starts and stops when, and what it answers on the control socket.

Start: lock → control socket → store (migrated) → bind → gateway → first snapshot → its
acknowledgement → "started". Stop: schedules → gateway (drained, the sockets closed when it was
told) → embedded models and engines → journal stored → store → control socket → lock.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
from pathlib import Path
from typing import Any, Literal

import msgspec

from flm.control.binding import bind
from flm.control.core import Core
from flm.control.gateway_process import Bound
from flm.control.socket import ControlSocket
from flm.control.worker import StoreThread
from flm.control.world import Opened, World
from flm.domain.keys import OWNER_LOOKUP_ID, new_key
from flm.errors import N_, Conflict, FlmError, NotRunning
from flm.ports.processes import Lock
from flm.settings import Settings
from flm.tasks import Tasks
from flm.wire.control import (
    ControlRequest,
    DetectRequest,
    Done,
    EngineKey,
    EngineKeyRequest,
    GatewayStatus,
    Handle,
    LoadModelRequest,
    LockInfo,
    OperationRequest,
    OwnerKey,
    OwnerKeyRequest,
    PokeRequest,
    StartEngineRequest,
    Status,
    StatusRequest,
    StopEngineRequest,
    StopRequest,
    UnloadModelRequest,
)

logger = logging.getLogger("flm.control")

LISTENER = "api"
DETECTION_SECONDS = 1.5
"""What a start may wait for engines to be found; what is found later comes as a delta."""

START_SECONDS = 60.0


class Controller:
    """One data directory's controller: `start`, then `until_stopped`, then `stop`, once each.

    `stop` mends a start that failed halfway too.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._state: Literal["starting", "started", "stopping"] = "starting"
        self._began = world.clock.now()
        self._settled = asyncio.Event()
        self._stop_asked = asyncio.Event()
        self._at_once = asyncio.Event()
        self._failure: FlmError | None = None
        self._lock: Lock | None = None
        self._control: ControlSocket | None = None
        self._control_path: str | None = None
        self._thread = StoreThread()
        self._handles: tuple[Handle, ...] = ()
        self._opened: Opened | None = None
        self._core: Core | None = None
        self._tasks = Tasks()
        _, self._owner_key = new_key(world.choice, OWNER_LOOKUP_ID)

    async def start(self) -> Status:
        """Start serving; returns when requests are answered.

        Raises `Conflict` when another controller has the data directory (`already_running`) or
        another program the port (`port_taken`), `StoreError`, `StartError`. Call `stop` then.
        """
        try:
            await self._start()
        except FlmError as error:
            self._failure = error
            raise
        finally:
            self._settled.set()
        return self.status()

    async def _start(self) -> None:
        world = self._world
        world.processes.no_core_dumps()
        self._lock = world.processes.lock(world.paths.controller_lock)
        if self._lock is None:
            raise Conflict(
                N_("The data directory {path} is served already."),
                remedy=N_("`flm proxy status` shows what runs, `flm proxy stop` ends it."),
                code="already_running",
                path=world.paths.root,
            )
        self._lock.write(b"")  # what a predecessor wrote there leads nowhere
        await self._open_control(self._lock)
        opened = self._opened = await self._thread.run(world.open_store)
        read = await self._thread.run(opened.reader.read)
        bound = await self._bind(read.settings)
        self._core = core = Core(world, opened, read, self._thread, bound, self._owner_key)
        await core.start()
        if world.foreground or not core.publisher.models():
            await self._wait_for_engines(core)
        self._state = "started"
        logger.info("serving %s", self._handles[0].base_url)

    async def _open_control(self, lock: Lock) -> None:
        world = self._world
        token = secrets.token_hex(16) if os.name == "nt" else ""
        self._control = ControlSocket(world.processes, self.answer, token)
        try:
            wanted = world.processes.control_address(world.paths.root)
            self._control_path = await self._control.open(wanted)
        except OSError as error:
            raise FlmError(
                N_("The control socket cannot be made: {why}."), code="start_failed", why=error
            ) from error
        info = LockInfo(
            pid=os.getpid(),
            started=self._began,
            control=self._control_path,
            version=world.version,
            token=token,
        )
        lock.write(msgspec.json.encode(info))

    async def _bind(self, settings: Settings) -> tuple[Bound, ...]:
        world = self._world
        host = settings.server_bind
        listening = await bind(
            world.processes, world.clock, host, settings.server_port, world.paths.journal
        )
        port = listening.getsockname()[1]
        shown = f"[{host}]" if ":" in host else host
        self._handles = (Handle(name=LISTENER, host=host, port=port,
                                base_url=f"http://{shown}:{port}/v1"),)  # fmt: skip
        return (Bound(LISTENER, listening),)

    async def _wait_for_engines(self, core: Core) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DETECTION_SECONDS):
                await core.watch.seen_once.wait()

    # What it answers.

    def status(self) -> Status:
        """What runs, as far as it has come."""
        core = self._core
        known = core is not None and self._state != "starting"
        return Status(
            state=self._state,
            pid=os.getpid(),
            version=self._world.version,
            started_at=self._began,
            foreground=self._world.foreground,
            demo=self._world.demo,
            handles=self._handles,
            gateway=GatewayStatus(pid=None, ready=False)
            if core is None
            else core.supervisor.status(),
            engines=core.engines() if core is not None and known else (),
            models=core.publisher.models() if core is not None and known else (),
        )

    async def answer(self, request: ControlRequest) -> msgspec.Struct:
        """Answer one verb of the control socket. Raises of FlmError's tree."""
        match request:
            case StatusRequest(wait=wait):
                if wait > 0:
                    await self._until_settled(wait)
                return self.status()
            case StopRequest():
                status = self.status()
                self.ask_to_stop()
                return status
            case PokeRequest():
                await self._until_settled(START_SECONDS)
                if self._core is not None and not self._gone():
                    await self._core.refresh()
                return Done()
            case OwnerKeyRequest():
                await self._until_settled(START_SECONDS)
                self._serving()
                return OwnerKey(self._owner_key)
            case DetectRequest():
                await self._until_settled(START_SECONDS)
                core = self._serving()
                await core.watch.look()
                return self.status()
            case _:
                await self._until_settled(START_SECONDS)
                return await self._operate(self._serving(), request)

    async def _operate(self, core: Core, request: ControlRequest) -> msgspec.Struct:
        """The verbs that begin what takes long, and the one that tells of it."""
        match request:
            case StartEngineRequest(engine=engine, arguments=arguments):
                return core.runner.start(engine, arguments).now
            case StopEngineRequest(engine=engine):
                return core.runner.stop(engine).now
            case LoadModelRequest(target=target):
                return core.loads.load(target).now
            case UnloadModelRequest(target=target):
                return core.loads.unload(target).now
            case EngineKeyRequest(engine=engine):
                return EngineKey(core.publisher.engine_keys().get(engine))
            case OperationRequest(id=id_, seen=seen, wait=wait):
                return await core.operations.told(id_, seen, wait)
            case _:
                raise AssertionError(request)

    async def _until_settled(self, seconds: float) -> None:
        """Wait until the start has ended. Raises why when it failed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._settled.wait()
        if self._failure is not None:
            raise self._failure

    def _gone(self) -> bool:
        """Whether it is ending and no gateway is left that could answer by something old."""
        core = self._core
        return self._state == "stopping" and (core is None or core.supervisor.status().pid is None)

    def _serving(self) -> Core:
        if self._core is None or self._state != "started":
            raise NotRunning(N_("FLM is about to end."), remedy=N_("Start it again."))
        return self._core

    # How it ends.

    def ask_to_stop(self) -> None:
        """Drain and leave."""
        self._stop_asked.set()

    def end_at_once(self) -> None:
        """Leave without waiting for what runs."""
        self._at_once.set()
        self._stop_asked.set()

    async def until_stopped(self) -> None:
        """Wait until it is asked to stop. Raises `StartError` when no gateway can be kept."""
        asked = self._tasks.start("stop asked", _when(self._stop_asked))
        waits: list[asyncio.Task[Any]] = [asked]
        if self._core is not None:
            waits.append(self._tasks.start("gateway kept", self._core.supervisor.failure()))
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        if not asked.done() and (failure := waits[-1].result()) is not None:
            raise failure

    async def stop(self) -> None:
        """Leave in the order of the module's docstring; what was not started is skipped.

        A second call does nothing.
        """
        if self._state == "stopping":
            return
        self._state = "stopping"
        self._stop_asked.set()
        self._settled.set()
        await self._tasks.cancel()
        if self._core is not None:
            await self._core.stop(self._at_once)
        if self._opened is not None:
            with contextlib.suppress(FlmError):
                await self._thread.run(self._opened.store.close)
        self._thread.close()
        if self._control is not None:
            await self._control.close()
        self._let_go()

    def _let_go(self) -> None:
        if self._control_path is not None and os.name != "nt":
            path = Path(self._control_path)
            path.unlink(missing_ok=True)
            if path.parent != self._world.paths.root:
                with contextlib.suppress(OSError):
                    path.parent.rmdir()
        if self._lock is not None:
            self._lock.release()
            logger.info("stopped")


async def _when(event: asyncio.Event) -> None:
    await event.wait()
