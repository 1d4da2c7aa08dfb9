"""One gateway process: started with its sockets, configured, told of changes, drained, ended."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from flm.control.channel import Channel
from flm.errors import N_, StartError
from flm.ports.processes import Child, Processes
from flm.wire.channel import (
    Ack,
    Configure,
    Delta,
    Drain,
    Drained,
    Forget,
    Hello,
    JournalGrew,
    Keep,
    Keeping,
    Listener,
    Loads,
    Recall,
    Stats,
    ToController,
    Told,
    Wake,
    Woken,
)
from flm.wire.snapshot import Snapshot

logger = logging.getLogger("flm.control.gateway")

HELLO_SECONDS = 15.0
CONFIGURE_SECONDS = 10.0
ACK_SECONDS = 2.0
LOST_SECONDS = 0.5
DRAINED_SECONDS = 5.0
NO_STATS = Stats(targets={}, connections=0, in_flight=0, served=0, unrecorded=0)


class Bound(NamedTuple):
    """A listening socket and the name it is known by."""

    name: str
    socket: socket.socket


class Launch(NamedTuple):
    """How gateways are started: the command without its own arguments, and what they are given."""

    command: tuple[str, ...]
    version: str
    listeners: tuple[Bound, ...]
    journal: Path
    output: Path


class GatewayEvents(Protocol):
    """What a gateway reports, besides its acknowledgements."""

    def stats_came(self, stats: Stats) -> None:
        """The gateway told how busy it is."""
        ...

    def journal_grew(self) -> None:
        """There are records to store."""
        ...

    def wake_wanted(self, wake: Wake) -> None:
        """A request waits for a sleeping target."""
        ...

    def response_asked(self, message: Keeping, tell: Callable[[Told], None]) -> None:
        """A response is to be kept, recalled or forgotten; `tell` answers this gateway."""
        ...

    def gateway_ended(self) -> None:
        """Its process is gone, and with it every request that was in flight."""
        ...


class GatewayProcess:
    """A gateway from its start to its end. ``sent`` is the snapshot it was told last."""

    def __init__(self, child: Child, launch: Launch, events: GatewayEvents) -> None:
        self._child = child
        self._launch = launch
        self._events = events
        self._channel: Channel | None = None
        self._hello: asyncio.Future[Hello] = asyncio.get_running_loop().create_future()
        self._acks: dict[int, asyncio.Future[None]] = {}
        self._lost = asyncio.Event()
        self._leaving = False
        self.sent: Snapshot | None = None
        self.stats = NO_STATS
        self.stats_count = 0

    @classmethod
    async def start(
        cls, launch: Launch, processes: Processes, events: GatewayEvents
    ) -> GatewayProcess:
        """Start the process; call it from the main thread only. Raises `OSError`."""
        ours, theirs = processes.channel()
        try:
            child = await processes.spawn(
                [*launch.command, "--channel", str(theirs.fileno()), "--parent", str(os.getpid())],
                pass_sockets=[theirs, *(bound.socket for bound in launch.listeners)],
                output=launch.output,
            )
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        process = cls(child, launch, events)
        process._channel = await Channel.open(ours, process._received, process._channel_lost)
        return process

    @property
    def pid(self) -> int:
        """The process id."""
        return self._child.pid

    async def greeted(self) -> bool:
        """Wait for its hello; False when it does not come.

        Raises `StartError` when it is of another version than this controller.
        """
        try:
            async with asyncio.timeout(HELLO_SECONDS):
                hello = await self._hello
        except (TimeoutError, ConnectionError):
            return False
        if hello.version != self._launch.version:
            raise StartError(
                N_("The gateway is of version {theirs}, this is {ours}."),
                remedy=N_("FLM was upgraded while it ran: stop it and start it again."),
                theirs=hello.version,
                ours=self._launch.version,
            )
        return True

    async def configure(self, seq: int, snapshot: Snapshot) -> bool:
        """Give it its sockets and first snapshot; whether it acknowledged them in time."""
        self.sent = snapshot
        message = Configure(
            seq=seq,
            listeners=_described(self._launch.listeners),
            journal=str(self._launch.journal),
            snapshot=snapshot,
        )
        return await self._acknowledged(message, CONFIGURE_SECONDS)

    async def change(self, delta: Delta, snapshot: Snapshot) -> bool:
        """Send what changed; whether it was acknowledged in time, and all before it."""
        self.sent = snapshot
        return await self._acknowledged(delta, ACK_SECONDS)

    async def settled(self) -> bool:
        """Wait until everything sent so far is acknowledged; False when the process has ended."""
        pending = list(self._acks.values())
        if pending:
            await asyncio.wait(pending)
        return not self._lost.is_set()

    async def _acknowledged(self, message: Configure | Delta, seconds: float) -> bool:
        if self._lost.is_set() or self._channel is None:
            return False
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._acks[message.seq] = done
        self._channel.send(message)
        try:
            finished, _ = await asyncio.wait([done], timeout=seconds)
        finally:
            self._acks.pop(message.seq, None)
        if not finished:
            done.cancel()
            logger.error("gateway %d did not acknowledge within %g s", self.pid, seconds)
            return False
        return not done.cancelled()

    def woken(self, message: Woken) -> None:
        """Tell how a `Wake` ended."""
        if self._channel is not None:
            self._channel.send(message)

    def told(self, message: Told) -> None:
        """Answer a `Keep`, `Recall` or `Forget` of this process."""
        if self._channel is not None:
            self._channel.send(message)

    def loads(self, message: Loads) -> None:
        """Tell how busy the engines are."""
        if self._channel is not None:
            self._channel.send(message)

    def drain(self, grace: float) -> None:
        """Ask it to finish what runs within `grace` seconds and leave."""
        if self._channel is not None:
            self._channel.send(Drain(grace))

    async def ended(self) -> int:
        """Wait for its end; the exit code."""
        code = await self._child.wait()
        self._channel_lost()
        if self._channel is not None:
            self._channel.close()
        return code

    def kill(self) -> None:
        """End it at once."""
        self._child.kill()

    def _received(self, message: ToController) -> None:
        match message:
            case Ack(seq=seq):
                waiting = self._acks.get(seq)
                if waiting is not None and not waiting.done():
                    waiting.set_result(None)
            case Stats():
                self.stats = message
                self.stats_count += 1
                self._events.stats_came(message)
            case JournalGrew():
                self._events.journal_grew()
            case Wake():
                self._events.wake_wanted(message)
            case Keep() | Recall() | Forget():
                self._events.response_asked(message, self.told)
            case Hello():
                if not self._hello.done():
                    self._hello.set_result(message)
            case Drained(reason=reason):
                self._leaving = True
                logger.info("gateway %d has drained (%s)", self.pid, reason)

    def _channel_lost(self) -> None:
        if self._lost.is_set():
            return
        self._lost.set()
        if not self._hello.done():
            self._hello.set_exception(ConnectionError("the gateway left before its hello"))
            self._hello.exception()  # seen, even when nobody waits any more
        for waiting in self._acks.values():
            waiting.cancel()
        # Without its channel it leaves by itself. One that lost it unasked stands in the way of
        # its successor; one that has drained may take its time.
        seconds = DRAINED_SECONDS if self._leaving else LOST_SECONDS
        asyncio.get_running_loop().call_later(seconds, self.kill)


def _described(listeners: Sequence[Bound]) -> tuple[Listener, ...]:
    return tuple(Listener(fd=bound.socket.fileno(), name=bound.name) for bound in listeners)
