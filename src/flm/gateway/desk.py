"""Where everything a request passes through comes together: the life of one exchange.

client → edge → `judge` (host, route, guards) → body → `serve` (endpoint → engine) → `record` →
the last byte.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from typing import Final

from flm.dialects.clients import FORMS
from flm.errors import Refusal
from flm.gateway.edge.caps import Caps
from flm.gateway.edge.coding import unpacked
from flm.gateway.edge.connection import CLOSED, Connection
from flm.gateway.edge.heads import JSON, Heads, extra_of
from flm.gateway.edge.request import decoded
from flm.gateway.exchange import ClientGone, Exchange
from flm.gateway.guards import AFTER_ROUTE
from flm.gateway.guards.host import HostGuard
from flm.gateway.journal import Journal
from flm.gateway.keeping import ResponseKeeping
from flm.gateway.live import Live, LiveTarget
from flm.gateway.media_fetch import MediaFetcher
from flm.gateway.routes import RouteTable, dialect_of, tolerated
from flm.gateway.running import OVER
from flm.gateway.wakes import Wakes
from flm.ports.clock import Clock
from flm.wire.channel import MAX_SUSPECTS, Keeping, Wake

logger = logging.getLogger("flm.gateway")

CLIENT_CLOSED: Final = 499

_LOW: Final = tuple(b"%02x" % low for low in range(256))
"""The last two digits of ids: to format a whole one costs five times a concatenation."""


class GatewayDesk:
    """The gateway's state, and what the connections and endpoints ask of it."""

    def __init__(
        self,
        *,
        clock: Clock,
        caps: Caps,
        live: Live,
        journal: Journal,
        table: RouteTable,
        instance: str,
        send: Callable[[Wake | Keeping], None],
        on_idle: Callable[[LiveTarget], None],
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.clock = clock
        self.random = random
        self.caps = caps
        self.live = live
        self.journal = journal
        self.table = table
        self.heads = Heads(clock.now())
        self.connections: set[Connection] = set()
        self.draining = False
        self.served = 0
        self.tick = clock.monotonic()
        self.media = MediaFetcher(lambda: self.live.rules.media_max_bytes)
        self.wakes = Wakes(lambda: self.live, send)
        self.keeping = ResponseKeeping(clock, send)
        self.target_idle = on_idle
        self._suspects: set[str] = set()
        self._id_lead = b"req_" + instance.encode()
        self._id_high = self._id_lead + b"000000"
        self._host_guard = HostGuard()
        self._leaving: list[tuple[Exchange, Connection, bytes, bytes]] = []

    # What a connection asks.

    def open_exchange(self, client: str, loopback: bool, started: float) -> Exchange:
        """A new exchange with an id of its own (`req_` + instance + count, hex)."""
        self.served += 1
        low = self.served & 0xFF
        if not low:
            self._id_high = b"%b%06x" % (self._id_lead, self.served >> 8)
        return Exchange(
            self._id_high + _LOW[low],
            client,
            loopback,
            self.clock.now(),
            started,
        )

    def judge(self, exchange: Exchange) -> None:
        """Host, route, guards, in this order. Raises `Refusal`."""
        request = exchange.request
        assert request is not None
        self._host_guard(exchange, self.live)
        route = self.table.exact.get((request.method, request.path))
        if route is None:
            request.path = tolerated(request.path)
            path = decoded(request.path)
            exchange.route_name = path.decode("utf-8", "replace")
            exchange.dialect = dialect_of(path)
            route = self.table.asked(request, path)
        exchange.route = route
        exchange.route_name = route.name
        exchange.dialect = route.dialect
        for guard in AFTER_ROUTE:
            guard(exchange, self.live)

    async def serve(self, exchange: Exchange, connection: Connection) -> None:
        """The life of one exchange after its body has arrived. Every exception ends here."""
        route = exchange.route
        assert route is not None
        try:
            if exchange.codings:
                exchange.body = await unpacked(
                    exchange.body, exchange.codings, route.body_limit, connection.hold_body
                )
            await route.endpoint(exchange, connection, self)
        except asyncio.CancelledError:
            self._aborted(exchange, connection)
        except Refusal as refusal:
            self._refuse(exchange, connection, refusal)
        except Exception:  # the boundary of one request: it is logged and answered, others go on
            logger.exception("request %s failed", exchange.id.decode())
            self._refuse(
                exchange,
                connection,
                Refusal(
                    500,
                    "internal_error",
                    "FLM failed at this request; its log says more.",
                    kind="server_error",
                    should_retry=False,
                ),
            )
        finally:
            run, exchange.run = exchange.run, None
            if not exchange.leaving:
                connection.finish()
        if run is not None and run.task is None:
            await OVER

    def _aborted(self, exchange: Exchange, connection: Connection) -> None:
        reason = exchange.aborted
        if isinstance(reason, Refusal):
            self._refuse(exchange, connection, reason)
            return
        exchange.status = CLIENT_CLOSED
        exchange.error = "client_closed" if isinstance(reason, ClientGone) else "cancelled"
        self.record(exchange)

    def _refuse(self, exchange: Exchange, connection: Connection, refusal: Refusal) -> None:
        if refusal.close:
            connection.closing = True
        status, body = self.refused(exchange, refusal)
        if (
            connection.phase is not CLOSED
        ):  # it may have left while the reason to end it was on its way
            connection.answer(exchange, status, JSON, body, extra_of(refusal))

    def refused(self, exchange: Exchange, refusal: Refusal) -> tuple[int, bytes]:
        """Record a refusal; the status and the body that say it in the client's dialect."""
        form = FORMS[exchange.dialect]
        status = form.status(refusal)
        exchange.failed(refusal)
        exchange.status = status
        self.record(exchange)
        return status, form.error(refusal, exchange.id.decode())

    # What an endpoint asks.

    def answer(
        self,
        exchange: Exchange,
        connection: Connection,
        body: bytes,
        dropped: tuple[str, ...] = (),
    ) -> None:
        """Record a result, then send it, with all others of this turn of the loop: one write to
        the journal for all of them.
        """
        exchange.status = 200
        exchange.leaving = True
        extra = self.dropped(dropped) if dropped else b""
        if not self._leaving:
            asyncio.get_running_loop().call_soon(self._let_go)
        self._leaving.append((exchange, connection, body, extra))

    def _let_go(self) -> None:
        leaving, self._leaving = self._leaving, []
        now = self.clock.monotonic()
        records = []
        for exchange, connection, _, _ in leaving:
            if connection.phase is CLOSED:
                exchange.status, exchange.error = CLIENT_CLOSED, "client_closed"
            route = exchange.route
            if route is None or route.journalled:
                records.append(exchange.record(now))
        if records:
            self.journal.append(records)
        for exchange, connection, body, extra in leaving:
            if connection.phase is not CLOSED:
                connection.answer(exchange, 200, JSON, body, extra)
            connection.finish()

    def dropped(self, names: tuple[str, ...]) -> bytes:
        """The header line that names fields the engine did not get, if there are any."""
        if not names:
            return b""
        listed = ", ".join(names)[:1000].encode("ascii", "replace")
        clean = bytes(byte if 0x20 <= byte < 0x7F else 0x3F for byte in listed)
        return b"x-flm-dropped: %b\r\n" % clean

    def record(self, exchange: Exchange) -> None:
        """Journal it, before the last byte of its answer leaves."""
        route = exchange.route
        if route is None or route.journalled:
            self.journal.append([exchange.record(self.clock.monotonic())])

    # What the process asks.

    def sweep(self) -> None:
        """Once in half a second: the date, the deadlines, the idle connections."""
        self.tick = now = self.clock.monotonic()
        self.heads.tick(self.clock.now())
        for connection in list(self.connections):
            connection.sweep(now)
        self.live.sweep(now)

    def suspect(self, engine: str) -> None:
        """An engine took no connection, or dropped one: somebody must look whether it lives."""
        if len(self._suspects) < MAX_SUSPECTS:
            self._suspects.add(engine)

    def suspects(self) -> tuple[str, ...]:
        """The engines that are suspected since this was last asked."""
        told, self._suspects = tuple(sorted(self._suspects)), set()
        return told

    def in_flight(self) -> int:
        """Exchanges that run."""
        return sum(1 for connection in self.connections if connection.exchange is not None)

    def revoke(self, keys: frozenset[str]) -> set[asyncio.Task[None]]:
        """End the running responses of `keys` with an error; what is to be waited for."""
        self.keeping.revoke(keys)
        ending: set[asyncio.Task[None]] = set()
        for connection in list(self.connections):
            exchange = connection.exchange
            if exchange is not None and exchange.key_id in keys:
                if exchange.run is not None and exchange.run.task is not None:
                    ending.add(exchange.run.task)
                connection.abort_exchange(
                    Refusal(
                        401,
                        "key_revoked",
                        "The API key of this request was revoked.",
                        kind="authentication_error",
                        should_retry=False,
                    )
                )
        return ending
