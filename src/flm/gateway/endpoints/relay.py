"""A stream on its way from the engine to the client, event by event.

Pieces go straight from the engine's connection through the dialect's reader to the client's
connection; the exchange's coroutine only waits for the end. That keeps a chunk at a few function
calls: it is what makes a streamed chunk cost about what nginx's does.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Final

from flm.dialects.clients import FORMS
from flm.dialects.conversation import Keeper
from flm.dialects.engine import StreamReader
from flm.dialects.estimates import Asked, estimate_stream
from flm.dialects.translated import TranslatedStream
from flm.errors import EngineError, Refusal, StreamBroken
from flm.gateway.edge.connection import CLOSED
from flm.gateway.endpoints.passage import Passage
from flm.gateway.upstream.answer import END, EngineGone

if TYPE_CHECKING:
    from flm.gateway.desk import GatewayDesk
    from flm.gateway.edge.connection import Connection
    from flm.gateway.endpoints.asking import Asking
    from flm.gateway.exchange import Exchange

TAIL_SECONDS: Final = 0.25
"""How long the end mark waits for the engine's message to end as its framing says."""

HELD_BYTES: Final = 64 << 10
"""What comes before the first content is held back up to this, so that until then another engine
can be asked, and an early error keeps its status."""


class Relay:
    """One stream to a client, of the engines that are asked for it one after the other.

    The head is sent with the first content, or with the first sign of life when there is nothing
    to send for long (`streams.ping_seconds`). ``spoke``: content was sent, so that no other
    engine can take over. ``dropped``: the names for `x-flm-dropped`.
    """

    __slots__ = (
        "_asking", "_begun", "_connection", "_desk", "_ended", "_events", "_exchange", "_form",
        "_held", "_idle", "_over", "_passage", "_ping_at", "_quiet", "_reader", "_seen", "dropped",
        "spoke",
    )  # fmt: skip

    def __init__(
        self,
        exchange: Exchange,
        connection: Connection,
        desk: GatewayDesk,
        dropped: tuple[str, ...],
    ) -> None:
        self._exchange = exchange
        self._connection = connection
        self._desk = desk
        self._asking: Asking | None = None
        self._reader: StreamReader | None = None
        self._form = FORMS[exchange.dialect]
        self._begun = False
        self._over = False
        self._events = 0
        self._held: list[bytes] = []
        self._passage: Passage | None = None
        self._seen = 0
        self._idle = desk.live.rules.idle_seconds
        seconds = desk.live.rules.ping_seconds
        self._quiet = seconds if seconds and self._form.ping else math.inf
        self._ping_at = exchange.started + self._quiet
        self._ended: asyncio.Future[None] | None = None
        self.dropped = dropped
        self.spoke = False
        exchange.on_sweep = self._sweep

    async def run(self, asking: Asking, reader: StreamReader) -> None:
        """Relay until the engine's stream has ended well.

        Raises `EngineError` when it was broken, and `CancelledError` with the exchange's abort.
        """
        exchange = self._exchange
        self._asking, self._reader = asking, reader
        self._over = False
        self._held.clear()
        self._ended = ended = asyncio.get_running_loop().create_future()
        try:
            exchange.on_pause = asking.engine.pause
            exchange.on_resume = asking.engine.resume
            exchange.deadline = self._desk.tick + self._idle
            asking.answer.pour(self._take, self._engine_ended)
            await ended
            if not asking.answer.over:
                await self._wait_for_the_end(asking)
        finally:
            self._over = True
            exchange.deadline = None
            exchange.on_pause = exchange.on_resume = None
            if self._connection.blocked:
                asking.engine.resume()  # others will use it

    def _take(self, data: bytes) -> None:
        """A piece from the engine. Called by its connection: must not raise."""
        if self._over:
            return
        reader = self._reader
        assert reader is not None
        try:
            out = reader.feed(data)
        except EngineError as error:
            if error.before and (self.spoke or reader.started):
                self._send(error.before)
            self._end(error)
            return
        self._exchange.deadline = self._desk.tick + self._idle
        if out:
            self._events += 1
            if self.spoke:
                self._connection.send(out)
            elif reader.started:
                self._speak(out)
            else:
                self._hold(out)
        if reader.finished:
            self._end(None)
        elif self._passage is not None:
            self._learn(self._passage, data)

    def _learn(self, passage: Passage, data: bytes) -> None:
        """Let chunks like `data` pass from here on, or none if the next must be looked at."""
        assert self._reader is not None
        assert self._asking is not None
        shape = self._reader.shape(data)
        answer = self._asking.answer
        if shape is None:
            answer.express = None
        elif passage.learn(shape):
            answer.express = passage.take
        else:
            answer.express = self._passage = None

    def _sweep(self, now: float) -> None:
        """Twice a second: the deadline for chunks that passed (they are too many to note it each
        time), and a sign of life when nothing was sent for long.
        """
        passage = self._passage
        count = self._events if passage is None else self._events + passage.count
        if count != self._seen:
            self._seen = count
            self._ping_at = now + self._quiet
            if self._exchange.deadline is not None and not self._over:
                self._exchange.deadline = now + self._idle
        elif now >= self._ping_at:
            self._ping_at = now + self._quiet
            connection = self._connection
            if not connection.blocked and connection.phase is not CLOSED:
                self._begin()
                connection.send(self._form.ping)

    def _end(self, error: Exception | None) -> None:
        """What comes now is not looked at any more."""
        self._over = True
        assert self._asking is not None
        assert self._ended is not None
        self._asking.answer.express = None
        if self._ended.done():
            return
        if error is None:
            self._ended.set_result(None)
        else:
            self._ended.set_exception(error)

    def _hold(self, data: bytes) -> None:
        """Keep what comes before the first content."""
        self._held.append(data)
        if sum(map(len, self._held)) > HELD_BYTES:
            self._send(b"")

    def _speak(self, data: bytes) -> None:
        """Send the first content, and what was held before it."""
        self._exchange.first_token = self._desk.clock.monotonic()
        self._send(data)
        connection = self._connection
        if connection.framed is not None:
            self._passage = Passage(connection.framed, connection.send)

    def _send(self, data: bytes) -> None:
        self.spoke = True
        self._begin()
        if self._held:
            data = b"".join(self._held) + data
            self._held.clear()
        if data:
            self._connection.send(data)

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            self._exchange.status = 200
            lines = self._desk.dropped(self.dropped)
            self._connection.begin_stream(self._exchange, self._form.stream_type, lines)

    def _engine_ended(self, error: EngineGone | None) -> None:
        """The engine's message ended, well or not: whether it was whole, the reader knows."""
        if self._over:
            return
        if error is not None:
            self._end(StreamBroken("The engine closed the connection in the middle of its answer."))
            return
        assert self._reader is not None
        try:
            self._reader.end()
        except EngineError as broken:
            self._end(broken)
        else:
            self._end(None)

    async def _wait_for_the_end(self, asking: Asking) -> None:
        try:
            async with asyncio.timeout(TAIL_SECONDS):
                await asking.answer.until(END)
        except (TimeoutError, EngineGone):
            return  # the end mark was there: the answer is whole

    async def complete(self, asked: Asked | None, keeper: Keeper | None) -> None:
        """Record, then send the end mark: what a client saw whole is in the journal.

        The `keeper` is given the end mark before that. What the engine did not count is guessed
        from what was `asked`, where it can be.
        """
        exchange, reader = self._exchange, self._reader
        assert reader is not None
        if reader.usage is None and asked is not None:
            passed = 0 if self._passage is None else self._passage.count
            exchange.usage = estimate_stream(asked, self._events + passed)
            reader.guess(exchange.usage)
        else:
            exchange.usage = reader.usage
        tail = reader.tail
        if keeper is not None:
            try:
                tail = await keeper(tail)
            except asyncio.CancelledError as error:
                self.broke(error)
                return
        self._begin()
        self._desk.record(exchange)
        held, self._held = self._held, []
        self._connection.end_stream(b"".join((*held, tail)))

    def broke(self, error: Refusal | asyncio.CancelledError) -> None:
        """Say in the client's dialect that the answer is not whole, then end it.

        Raises `error` when nothing was sent yet, or nobody is there to be told.
        """
        exchange = self._exchange
        reason = exchange.aborted if isinstance(error, asyncio.CancelledError) else error
        if not self._begun or not isinstance(reason, Refusal):
            raise error
        exchange.error = reason.code
        if self._reader is not None:
            exchange.usage = self._reader.usage
        self._desk.record(exchange)
        if self._connection.phase is not CLOSED:
            reader = self._reader
            said = reader.broken(reason) if isinstance(reader, TranslatedStream) else b""
            said = said or self._form.broken(reason, exchange.id.decode())
            self._connection.end_stream(said)

    def close(self) -> None:
        """Let go of the exchange."""
        self._exchange.on_sweep = None
