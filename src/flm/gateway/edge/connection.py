"""One client's connection: reads requests, hands each to `serve`, writes answers.

One exchange at a time. Reading stays on while it runs, because a paused transport never reports
that the client has left; bytes that arrive meanwhile wait unparsed up to 64 KiB.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum, auto
from typing import TYPE_CHECKING, Final, cast

from flm.errors import Refusal
from flm.gateway.edge.caps import HELD_BYTES
from flm.gateway.edge.closing import cut
from flm.gateway.edge.heads import JSON, also_named, extra_of
from flm.gateway.edge.reader import RequestReader, overloaded, too_large, too_slow
from flm.gateway.edge.request import Request
from flm.gateway.edge.upload import Upload
from flm.gateway.exchange import ClientGone, Exchange
from flm.gateway.running import Run

if TYPE_CHECKING:
    from flm.gateway.edge.desk import Desk

HEAD_SECONDS: Final = 10.0
IDLE_SECONDS: Final = 75.0
BODY_BYTES_PER_SECOND: Final = 1024
BODY_GRACE_SECONDS: Final = 10.0
STALLED_SECONDS: Final = 60.0
LINGER_SECONDS: Final = 5.0
LINGER_BYTES: Final = 64 << 20
WRITE_HIGH: Final = 64 << 10
BURST: Final = 1 << 20
"""Bytes of a body that are read before others are heard."""
CLOSE: Final = b"connection: close\r\n"


class Phase(Enum):
    """What the connection waits for."""

    HEAD = auto()
    BODY = auto()
    UPLOAD = auto()
    BUSY = auto()
    LINGER = auto()
    CLOSED = auto()


# Looked up by name in the class, a member costs a Python call each time (CPython 3.11).
HEAD: Final = Phase.HEAD
BODY: Final = Phase.BODY
UPLOAD: Final = Phase.UPLOAD
BUSY: Final = Phase.BUSY
LINGER: Final = Phase.LINGER
CLOSED: Final = Phase.CLOSED


class Connection(asyncio.Protocol):
    """A client's connection."""

    __slots__ = (
        "_blocked_at", "_blocked_size", "_body_at", "_buffered", "_desk", "_discarded",
        "_exchange", "_held", "_loopback", "_reader", "_since", "_streaming",
        "_transport", "_unsent", "client", "closing", "phase",
    )  # fmt: skip

    def __init__(self, desk: Desk, loopback: bool) -> None:
        self._desk = desk
        self._loopback = loopback
        self._reader = RequestReader()
        self._exchange: Exchange | None = None
        self.phase = HEAD
        self._held = b""
        self._since = desk.clock.monotonic()
        self._body_at = 0.0
        self._buffered = 0
        self._discarded = 0
        self._blocked_at: float | None = None
        self._blocked_size = 0
        self._streaming = False
        self._unsent = 0
        self.closing = False
        self.client = ""

    # What the transport reports.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is there: counted, or refused when there are too many."""
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        address = peer[0] if isinstance(peer, tuple) else "local"
        if not self._desk.caps.admit(address):
            self._turn_away(address)
            return
        self.client = address
        self._transport.set_write_buffer_limits(high=WRITE_HIGH)
        self._desk.connections.add(self)

    def _turn_away(self, address: str) -> None:
        self.phase = CLOSED
        refusal = Refusal(
            503,
            "too_many_connections",
            "Too many connections are open.",
            kind="server_error",
            retry_after=1,
        )
        exchange = self._desk.open_exchange(address, self._loopback, self._since)
        status, body = self._desk.refused(exchange, refusal)
        self.answer(exchange, status, JSON, body, extra_of(refusal))
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        """Bytes from the client, whatever it is that they belong to."""
        phase = self.phase
        if phase is HEAD:
            self._take_head(data)
        elif phase is BUSY:
            self._hold(data)
        elif phase is BODY:
            self._take_body(data)
        elif phase is UPLOAD:
            self._pass_on(data)
        elif phase is LINGER:
            self._discarded += len(data)
            if self._discarded > LINGER_BYTES:
                self._drop()

    def eof_received(self) -> bool:
        """The client's end of stream counts as gone."""
        self._since = self._desk.clock.monotonic()
        self._gone()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """The connection has ended, for whatever reason."""
        del error
        self._gone()
        self._release()
        self._sent()
        self._reader.close()
        if self.client:
            self._desk.connections.discard(self)
            self._desk.caps.leave(self.client)
            self.client = ""

    def pause_writing(self) -> None:
        """The client takes less than it is sent: the engine is slowed."""
        self._blocked_at = self._desk.clock.monotonic()
        self._blocked_size = self._transport.get_write_buffer_size()
        exchange = self._exchange
        if exchange is not None and exchange.on_pause is not None:
            exchange.on_pause()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._blocked_at = None
        self._since = self._desk.clock.monotonic()
        self._sent()
        exchange = self._exchange
        if exchange is None:
            asyncio.get_running_loop().call_soon(self._go_on)
        elif exchange.on_resume is not None:
            exchange.on_resume()

    @property
    def blocked(self) -> bool:
        """Whether the client takes less than it is sent."""
        return self._blocked_at is not None

    def _sent(self) -> None:
        self._desk.caps.answers -= self._unsent
        self._unsent = 0

    # From bytes to an exchange.

    def _take_head(self, data: bytes) -> None:
        reader = self._reader
        began = self._since if reader.held else self._desk.clock.monotonic()
        try:
            if reader.head(data):
                self._open(began)
            elif reader.held:
                self._since = began
        except Refusal as refusal:
            self._refuse(refusal)

    def _open(self, started: float) -> None:
        """The head is complete: judge it, then wait for the body or start."""
        reader = self._reader
        exchange = self._desk.open_exchange(self.client, self._loopback, started)
        exchange.request = request = reader.request
        assert request is not None
        self._exchange = exchange
        self._desk.judge(exchange)
        route = exchange.route
        assert route is not None
        if route.content == "multipart":
            self._upload(exchange, route.body_limit)
            return
        if reader.size:
            self._buffered = reader.size
            self._desk.caps.bodies += reader.size
        if reader.complete:
            self._start()
            return
        reader.body_limit = route.body_limit
        if request.length is not None and request.length > route.body_limit:
            raise too_large(route.body_limit)
        self.phase = BODY
        self._expect_body(request)
        if reader.rest:
            rest, reader.rest = reader.rest, b""
            self._take_body(rest)

    def _take_body(self, data: bytes) -> None:
        reader = self._reader
        before = reader.size
        try:
            complete = reader.body(data)
            self._buffered += reader.size - before
            if not self._desk.caps.buffer_body(reader.size - before):
                raise overloaded()
        except Refusal as refusal:
            self._refuse(refusal)
            return
        if complete:
            self._start()
        else:
            reader.gather()
            if reader.size // BURST != before // BURST:
                # There may be megabytes more in the kernel, which libuv would read at once.
                self._transport.pause_reading()
                asyncio.get_running_loop().call_soon(self._read_on)

    def _read_on(self) -> None:
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def _expect_body(self, request: Request) -> None:
        self._body_at = self._desk.clock.monotonic()
        if not request.http10 and request.values.get(b"expect", b"").lower() == b"100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _upload(self, exchange: Exchange, limit: int) -> None:
        """Start at once: the body is passed on while it arrives."""
        reader, request = self._reader, exchange.request
        assert request is not None
        reader.body_limit = limit
        if max(request.length or 0, reader.size) > limit:
            raise too_large(limit)
        exchange.upload = upload = Upload(self._desk.caps, self._transport)
        if reader.complete:
            self._held, reader.rest = reader.rest, b""
            self._passed(upload)
            self._run(exchange)
            return
        self.phase = UPLOAD
        self._expect_body(request)
        rest, reader.rest = reader.rest, b""
        self._passed(upload)
        self._run(exchange)
        if rest and self.phase is UPLOAD:
            self._pass_on(rest)

    def _pass_on(self, data: bytes) -> None:
        """Bytes of a body whose exchange runs already."""
        exchange, reader = self._exchange, self._reader
        assert exchange is not None
        upload = exchange.upload
        assert upload is not None
        try:
            reader.body(data)
        except Refusal as refusal:
            reader.chunks = []
            upload.close()
            exchange.abort(refusal)
            return
        if not self._passed(upload):
            upload.close()
            exchange.abort(overloaded())

    def _passed(self, upload: Upload) -> bool:
        """Give the pieces that were read; with the last one the rest is the next request's.

        False when all that wait for somebody to take them are too many.
        """
        reader = self._reader
        pieces, reader.chunks = reader.chunks, []
        if reader.complete:
            self.phase = BUSY
            rest, reader.rest = reader.rest, b""
            self._hold(rest)
        return upload.feed(pieces, reader.complete)

    def _start(self) -> None:
        exchange = self._exchange
        assert exchange is not None
        reader = self._reader
        exchange.body = reader.payload()
        self._held = reader.rest
        reader.rest = b""
        self.phase = BUSY
        self._run(exchange)

    def _run(self, exchange: Exchange) -> None:
        # Kept by the exchange; serve() is the boundary that sees every exception.
        exchange.run = run = Run(self._desk.serve(exchange, self))
        run.step()
        if self._held:
            self._hold(b"")

    def hold_body(self, size: int) -> bool:
        """Count `size` more bytes of this request's body; False when that is more than all may
        hold. They are let go with the exchange.
        """
        self._buffered += size
        return self._desk.caps.buffer_body(size)

    def _hold(self, data: bytes) -> None:
        """Keep what came too early, unparsed; beyond 64 KiB the connection is closed."""
        self._held += data
        if len(self._held) > HELD_BYTES:
            self._drop()

    def _drop(self) -> None:
        """Close without a further word; the client counts as gone at once."""
        self._gone()
        self._transport.abort()

    def _gone(self) -> None:
        exchange = self._exchange
        phase, self.phase = self.phase, CLOSED
        if exchange is None:
            return
        if phase is BUSY or phase is UPLOAD:
            exchange.abort(ClientGone())
        elif phase is BODY:
            self._exchange = None
            self._desk.refused(exchange, Refusal(499, "client_closed", "The client left."))

    def _refuse(self, refusal: Refusal) -> None:
        """Answer an error while the request may still be arriving, then discard and close."""
        exchange = self._exchange
        if exchange is None:
            exchange = self._desk.open_exchange(self.client, self._loopback, self._since)
            exchange.request = self._reader.request
        self._exchange = exchange
        unread = not self._reader.complete
        if unread or refusal.close:
            self.closing = True
        self._reader.drop()
        status, body = self._desk.refused(exchange, refusal)
        self.answer(exchange, status, JSON, body, extra_of(refusal))
        self.finish()

    # Answers.

    def answer(
        self, exchange: Exchange, status: int, kind: bytes, body: bytes, extra: bytes = b""
    ) -> None:
        """Send an answer of known length. `extra`: whole header lines."""
        request = exchange.request
        if self.phase is UPLOAD:
            self.closing = True  # what is still on its way cannot be told from a next request
        if request is None or not request.keep_alive or request.http10 or self._desk.draining:
            extra += self._persistence(exchange)
        elif self.closing:
            extra += CLOSE
        if exchange.dialect == "anthropic":
            extra += also_named(exchange.id)
        head = self._desk.heads.sized(status, kind, exchange.id, len(body), extra)
        if request is not None and request.method == b"HEAD":
            self._transport.write(head)
        else:
            self._transport.write(head + body)
        if self._blocked_at is not None:
            self._unsent += len(body)
            self._desk.caps.answers += len(body)

    def answer_nothing(self, exchange: Exchange, extra: bytes) -> None:
        """Send 204, an answer without a body. `extra`: whole header lines."""
        extra += self._persistence(exchange)
        self._transport.write(self._desk.heads.bodiless(204, exchange.id, extra))

    def _persistence(self, exchange: Exchange) -> bytes:
        request = exchange.request
        if request is None or not request.keep_alive or self._desk.draining:
            self.closing = True
        if self.closing:
            return CLOSE
        return b"connection: keep-alive\r\n" if request is not None and request.http10 else b""

    def begin_stream(self, exchange: Exchange, kind: bytes, lines: bytes = b"") -> None:
        """Send the head of a stream: chunked, or ended by the connection in HTTP/1.0.

        ``lines``: more whole header lines.
        """
        request = exchange.request
        assert request is not None
        if self.phase is UPLOAD:
            self.closing = True
        if request.http10:
            self.closing = True
            extra = lines
        else:
            extra = lines + b"transfer-encoding: chunked\r\n"
            self._streaming = True
        extra += self._persistence(exchange)
        if exchange.dialect == "anthropic":
            extra += also_named(exchange.id)
        self._transport.write(self._desk.heads.streamed(kind, exchange.id, extra))

    def send(self, data: bytes) -> None:
        """Send a piece of the stream that was begun; never empty."""
        if self._streaming:
            self._transport.write(b"%x\r\n%b\r\n" % (len(data), data))
        else:
            self._transport.write(data)

    @property
    def framed(self) -> Callable[[bytes], object] | None:
        """What sends chunks that are framed already; None when the stream is not chunked."""
        return self._transport.write if self._streaming else None

    def end_stream(self, data: bytes) -> None:
        """Send the last piece (it may be empty) and the end of the stream."""
        if self._streaming:
            self._streaming = False
            last = b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data) if data else b"0\r\n\r\n"
            self._transport.write(last)
        elif data:
            self._transport.write(data)

    def cut(self) -> None:
        """Close in the middle of a stream, so that nobody takes it for whole."""
        self.phase = CLOSED
        cut(self._transport, self._streaming)

    def finish(self) -> None:
        """The exchange is over: next request, or close."""
        exchange, self._exchange = self._exchange, None
        if exchange is not None and exchange.upload is not None:
            exchange.upload.close()
        if self._buffered:
            self._release()
        if self.phase is CLOSED:
            return
        if self.closing or self._desk.draining:
            self._close_gently()
            return
        self._since = self._desk.clock.monotonic()
        rest = self._reader.next()
        if self._held or rest or self._blocked_at is not None:
            self.phase = BUSY
            self._hold(rest)
            asyncio.get_running_loop().call_soon(self._go_on)
        else:
            self.phase = HEAD

    def _go_on(self) -> None:
        """The next pipelined request, once the client has taken the answers so far.

        Called by the loop: refused requests in a row must not nest.
        """
        if self.phase is BUSY and self._exchange is None and self._blocked_at is None:
            if self._desk.draining:
                self._close_gently()
                return
            self.phase = HEAD
            held, self._held = self._held, b""
            if held:
                self._take_head(held)

    def _release(self) -> None:
        self._desk.caps.bodies -= self._buffered
        self._buffered = 0

    def _close_gently(self) -> None:
        """Close so that the last answer arrives: a client that still sends would be sent RST."""
        self._since = self._desk.clock.monotonic()
        if self._reader.complete and not self._held and not self._reader.rest:
            self.phase = CLOSED
            self._transport.close()
            return
        self.phase = LINGER
        self._discarded = 0
        if self._transport.can_write_eof():
            self._transport.write_eof()

    def close_if_idle(self) -> bool:
        """Close it unless an exchange runs or its body is arriving; whether it is closed."""
        if self.phase is HEAD:
            self.closing = True
            self.phase = CLOSED
            self._transport.close()
            return True
        return self.phase not in (BUSY, BODY, UPLOAD)

    def abort_exchange(self, reason: Refusal) -> None:
        """End the exchange that runs or whose body is arriving, if there is one, with `reason`."""
        if self.phase is BODY:
            self._refuse(reason)
        elif self._exchange is not None:
            self._exchange.abort(reason)

    @property
    def exchange(self) -> Exchange | None:
        """The exchange that runs or whose body is arriving."""
        return self._exchange

    # Deadlines: one sweep over all connections instead of a timer for each.

    def sweep(self, now: float) -> None:
        """End what has waited too long, at monotonic time `now`."""
        if self._blocked_at is not None and self._stalled(now):
            return
        phase = self.phase
        if phase is HEAD:
            self._sweep_head(now)
        elif phase is BODY:
            self._sweep_body(now)
        elif phase is LINGER or phase is CLOSED:
            if now - self._since > (LINGER_SECONDS if phase is LINGER else STALLED_SECONDS):
                self._drop()
        else:
            exchange = self._exchange
            if phase is UPLOAD and exchange is not None:
                self._sweep_upload(exchange, now)
            if exchange is not None and exchange.on_sweep is not None:
                exchange.on_sweep(now)
            if exchange is not None and exchange.deadline is not None and now > exchange.deadline:
                exchange.abort(
                    Refusal(
                        504,
                        "engine_timeout",
                        "The engine took too long to answer.",
                        kind="upstream_error",
                        should_retry=False,
                    )
                )

    def _sweep_head(self, now: float) -> None:
        waited = now - self._since
        if self._reader.held:
            if waited > HEAD_SECONDS:
                self._refuse(
                    Refusal(408, "request_timeout", "The request's head took too long.", close=True)
                )
        elif waited > IDLE_SECONDS:
            if self._transport.get_write_buffer_size() == 0:
                self._transport.close()
            else:
                self._drop()  # it has not even taken its last answer

    def _sweep_body(self, now: float) -> None:
        if self._is_slow(now):
            self._refuse(too_slow())

    def _sweep_upload(self, exchange: Exchange, now: float) -> None:
        upload = exchange.upload
        if upload is not None and upload.held:  # this time is not the client's
            self._body_at = now - self._reader.size / BODY_BYTES_PER_SECOND
        elif self._is_slow(now):
            exchange.abort(too_slow())

    def _is_slow(self, now: float) -> bool:
        waited = now - self._body_at - BODY_GRACE_SECONDS
        return waited > 0 and self._reader.size < waited * BODY_BYTES_PER_SECOND

    def _stalled(self, now: float) -> bool:
        """Whether the client has taken nothing for 60 s; then the connection is gone."""
        size = self._transport.get_write_buffer_size()
        if size < self._blocked_size:
            self._blocked_size = size
            self._blocked_at = now
        elif self._blocked_at is not None and now - self._blocked_at > STALLED_SECONDS:
            self._drop()
            return True
        return False
