"""The gateway process: the channel to the controller, the listeners, start and end.

How it ends: on `Drain` it takes no new connection, closes idle ones, lets responses end within
the grace period, sends `Drained` and leaves. When the channel ends the controller is dead: it
does the same within 3 s and without a word. SIGINT and SIGTERM are not for it.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import math
import secrets
import socket
from pathlib import Path
from typing import cast

from flm import __version__
from flm.errors import Refusal
from flm.gateway.desk import GatewayDesk
from flm.gateway.edge.caps import Caps
from flm.gateway.edge.connection import Connection
from flm.gateway.endpoints.table import route_table
from flm.gateway.journal import Journal
from flm.gateway.live import Live, LiveTarget
from flm.ports.clock import Clock
from flm.ports.processes import Processes
from flm.tasks import Tasks
from flm.wire.channel import (
    Ack,
    Configure,
    Delta,
    Drain,
    Drained,
    Framer,
    Hello,
    JournalGrew,
    Listener,
    Loads,
    Stats,
    ToController,
    ToGateway,
    Told,
    Woken,
    decode_to_gateway,
    frame,
)

logger = logging.getLogger("flm.gateway")

SWEEP_SECONDS = 0.5
BACKLOG = 4096
ORPHAN_GRACE = 3.0
REVOKE_SECONDS = 1.0
"""How long the acknowledgement of a revocation waits; the controller kills after 2 s."""

LAST_WORD = 0.5
"""The sooner end of a grace period at which responses are ended with an error event."""


class Channel(asyncio.Protocol):
    """The gateway's end of the channel."""

    def __init__(self, gateway: GatewayProcess) -> None:
        self._gateway = gateway
        self._framer = Framer()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected: it always is."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Frames from the controller."""
        for payload in self._framer.feed(data):
            self._gateway.received(decode_to_gateway(payload))

    def connection_lost(self, error: Exception | None) -> None:
        """The controller is gone."""
        self._transport = None
        self._gateway.orphaned()

    def send(self, message: ToController) -> None:
        """Send `message`; nothing happens when the controller is gone."""
        if self._transport is not None:
            self._transport.write(frame(message))


class GatewayProcess:
    """One gateway, from `Hello` to its end."""

    def __init__(self, pid: int, clock: Clock, processes: Processes) -> None:
        self._pid = pid
        self._clock = clock
        self._processes = processes
        self._channel = Channel(self)
        self._tasks = Tasks(on_error=lambda name, error: self._finished.set())
        self._finished = asyncio.Event()
        self._servers: list[asyncio.AbstractServer] = []
        self._desk: GatewayDesk | None = None
        self._ending = False
        self._leave_until = math.inf
        self._last_stats: Stats | None = None
        self._last_journal = (0, 0)

    async def run(self, channel: socket.socket) -> None:
        """Serve until drained or orphaned."""
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self._channel, sock=channel)
        self._channel.send(Hello(__version__, self._pid))
        await self._finished.wait()
        for server in self._servers:
            server.close()
        await self._tasks.cancel()
        if self._desk is not None:
            self._desk.journal.close()
            self._report()

    # The channel.

    def received(self, message: ToGateway) -> None:
        """Act on a message from the controller."""
        if isinstance(message, Configure):
            self._tasks.start("configure", self._configure(message))
        elif isinstance(message, Delta):
            self._apply(message)
        elif isinstance(message, Woken):
            if self._desk is not None:
                self._desk.wakes.woken(message)
        elif isinstance(message, Told):
            if self._desk is not None:
                self._desk.keeping.told(message)
        elif isinstance(message, Loads):
            if self._desk is not None:
                self._desk.live.loads = message.engines
        elif isinstance(message, Drain):
            self._tasks.start("drain", self._leave(message.grace))

    def orphaned(self) -> None:
        """The controller died: no further request on any connection, a last few seconds.

        Also when it had asked for a longer drain.
        """
        if self._desk is not None:
            self._end_owned(self._desk)
        self._leave_until = min(self._leave_until, asyncio.get_running_loop().time() + ORPHAN_GRACE)
        self._tasks.start("orphaned", self._leave(ORPHAN_GRACE))

    async def _configure(self, message: Configure) -> None:
        instance = secrets.token_hex(4)
        limit = self._processes.raise_file_limit()
        live = Live(message.snapshot)
        journal = Journal(
            Path(message.journal),
            f"{int(self._clock.now() * 1000):013x}-{instance}",
            self._processes,
            live.rules.journal_cap_bytes,
        )
        journal.open()
        self._desk = GatewayDesk(
            clock=self._clock,
            caps=Caps(limit),
            live=live,
            journal=journal,
            table=route_table(),
            instance=instance,
            send=self._channel.send,
            on_idle=self._target_idle,
        )
        gc.collect()
        gc.freeze()  # what is here now stays; a request leaves no cycles behind, so look rarely
        gc.set_threshold(10_000, 20, 50)
        for listener in message.listeners:
            await self._listen(listener, self._desk)
        self._tasks.start("sweep", self._sweep(self._desk))
        self._channel.send(Ack(message.seq))

    async def _listen(self, listener: Listener, desk: GatewayDesk) -> None:
        loop = asyncio.get_running_loop()
        inherited = socket.socket(fileno=listener.fd)
        server = await loop.create_server(
            lambda: Connection(desk, listener.loopback), sock=inherited, backlog=BACKLOG
        )
        self._servers.append(server)

    def _apply(self, delta: Delta) -> None:
        desk = self._desk
        if desk is None:
            return
        if delta.keys is not None:
            desk.live.use_keys(delta.keys)
        if delta.rules is not None:
            desk.live.use_rules(delta.rules)
            desk.journal.cap_bytes = delta.rules.journal_cap_bytes
        if delta.routes is not None:
            desk.live.use_routes(delta.routes)
        if delta.revoked:
            ending = desk.revoke(frozenset(delta.revoked))
            self._tasks.start("revoke", self._acknowledge(delta.seq, ending))
        else:
            self._report()
            self._channel.send(Ack(delta.seq))

    async def _acknowledge(self, seq: int, ending: set[asyncio.Task[None]]) -> None:
        """Acknowledge a revocation once the responses it ends have ended."""
        if ending:
            await asyncio.wait(ending, timeout=REVOKE_SECONDS)
        self._report()
        self._channel.send(Ack(seq))

    # The figures.

    async def _sweep(self, desk: GatewayDesk) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            desk.sweep()
            self._report()

    def _target_idle(self, live: LiveTarget) -> None:
        if live.withdrawn:
            self._report()

    def _report(self) -> None:
        """Send what has changed since the last report."""
        desk = self._desk
        if desk is None:
            return
        stats = Stats(
            desk.live.stats(),
            desk.caps.connections,
            desk.in_flight(),
            desk.served,
            desk.journal.unrecorded,
            desk.suspects(),
        )
        if stats != self._last_stats:
            self._last_stats = stats
            self._channel.send(stats)
        journal = (desk.journal.segment, desk.journal.offset)
        if journal != self._last_journal:
            self._last_journal = journal
            self._channel.send(JournalGrew(*journal))

    # The end.

    async def _leave(self, grace: float) -> None:
        if self._ending:
            return
        self._ending = True
        self._leave_until = min(self._leave_until, asyncio.get_running_loop().time() + grace)
        desk = self._desk
        for server in self._servers:
            server.close()
        if desk is not None:
            desk.draining = True
            ended = await self._run_dry(desk, min(LAST_WORD, grace / 2))
            self._report()
            self._channel.send(Drained("drain" if ended else "deadline"))
        self._finished.set()

    async def _run_dry(self, desk: GatewayDesk, sooner: float) -> bool:
        """Wait for what runs, and end it so much sooner than the grace is over.

        Returns whether all ended by itself.
        """
        loop = asyncio.get_running_loop()
        while loop.time() < self._leave_until:
            last_word = self._leave_until - sooner
            busy = 0
            for connection in list(desk.connections):
                if not connection.close_if_idle():
                    busy += 1
            if not busy and not desk.connections:
                return loop.time() < last_word
            if busy and loop.time() >= last_word:
                for connection in list(desk.connections):
                    connection.abort_exchange(_shutting_down())
            await asyncio.sleep(0.02)
        return False

    def _end_owned(self, desk: GatewayDesk) -> None:
        """End responses on engines that die with the controller: theirs cannot become whole."""
        for connection in list(desk.connections):
            exchange = connection.exchange
            if exchange is not None and exchange.engine == "embedded":
                exchange.abort(_shutting_down())


def _shutting_down() -> Refusal:
    return Refusal(
        503, "shutting_down", "FLM is shutting down.", kind="server_error", retry_after=2
    )
