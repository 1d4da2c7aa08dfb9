"""A stream on its way from the engine to the client, event by event.

Pieces go straight from the engine's connection through the dialect's reader to the client's
connection; the exchange's coroutine only waits for the end. That keeps a chunk at a few function
calls: it is what makes a streamed chunk cost about what nginx's does.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from flm.dialects.clients import FORMS
from flm.dialects.engine import StreamReader
from flm.errors import EngineError, Refusal, StreamBroken
from flm.gateway.edge.connection import CLOSED
from flm.gateway.edge.heads import SSE
from flm.gateway.endpoints.passage import Passage
from flm.gateway.upstream.answer import END, EngineGone

if TYPE_CHECKING:
    from flm.gateway.desk import GatewayDesk
    from flm.gateway.edge.connection import Connection
    from flm.gateway.endpoints.asking import Asking
    from flm.gateway.exchange import Exchange

TAIL_SECONDS = 0.25
"""How long the end mark waits for the engine's message to end as its framing says."""


class Relay:
    """One stream. The head is sent with the first event, so that early errors keep their status."""

    __slots__ = (
        "_asking", "_begun", "_connection", "_desk", "_dropped", "_ended", "_exchange", "_first",
        "_idle", "_over", "_passage", "_reader",
    )  # fmt: skip

    def __init__(
        self,
        exchange: Exchange,
        connection: Connection,
        desk: GatewayDesk,
        asking: Asking,
        reader: StreamReader,
        dropped: tuple[str, ...],
    ) -> None:
        self._exchange = exchange
        self._connection = connection
        self._desk = desk
        self._asking = asking
        self._reader = reader
        self._dropped = dropped
        self._begun = False
        self._first = False
        self._over = False
        self._passage: Passage | None = None
        self._idle = desk.live.rules.idle_seconds
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self) -> None:
        """Relay until the stream has ended well, was broken, or the exchange was aborted."""
        exchange, asking = self._exchange, self._asking
        try:
            exchange.on_pause = asking.engine.pause
            exchange.on_resume = asking.engine.resume
            exchange.on_sweep = self._sweep
            exchange.deadline = self._desk.tick + self._idle
            asking.answer.pour(self._take, self._engine_ended)
            await self._ended
            if not asking.answer.over:
                await self._wait_for_the_end()
            self._complete()
        except asyncio.CancelledError:
            reason = exchange.aborted
            if not isinstance(reason, Refusal) or not self._begun:
                raise
            self._break(reason)
        except Refusal as refusal:
            if not self._begun:
                raise
            self._break(refusal)
        finally:
            exchange.on_pause = exchange.on_resume = exchange.on_sweep = None
            if self._connection.blocked:
                asking.engine.resume()  # others will use it

    def _take(self, data: bytes) -> None:
        """A piece from the engine. Called by its connection: must not raise."""
        if self._over:
            return
        reader = self._reader
        try:
            out = reader.feed(data)
        except EngineError as error:
            before = getattr(error, "before", b"")
            if before:
                self._send(before)
            self._end(error)
            return
        self._exchange.deadline = self._desk.tick + self._idle
        if out:
            if self._first:
                self._connection.send(out)
            else:
                self._send(out)
        if reader.finished:
            self._end(None)
        elif self._passage is not None:
            self._learn(self._passage, data)

    def _learn(self, passage: Passage, data: bytes) -> None:
        """Let chunks like `data` pass from here on, or none if the next must be looked at."""
        shape = self._reader.shape(data)
        answer = self._asking.answer
        if shape is None:
            answer.express = None
        elif passage.learn(shape):
            answer.express = passage.take
        else:
            answer.express = self._passage = None

    def _sweep(self, now: float) -> None:
        """The deadline, for chunks that passed: they are too many to note it each time."""
        passage = self._passage
        if passage is not None and passage.moved:
            passage.moved = False
            self._exchange.deadline = now + self._idle

    def _end(self, error: Exception | None) -> None:
        """What comes now is not looked at any more."""
        self._over = True
        self._asking.answer.express = None
        if self._ended.done():
            return
        if error is None:
            self._ended.set_result(None)
        else:
            self._ended.set_exception(error)

    def _send(self, data: bytes) -> None:
        """Send what comes before or with the first token."""
        if self._reader.started:
            self._first = True
            self._exchange.first_token = self._desk.clock.monotonic()
        if not self._begun:
            self._begun = True
            self._exchange.status = 200
            self._connection.begin_stream(self._exchange, SSE, self._desk.dropped(self._dropped))
        connection = self._connection
        connection.send(data)
        if self._first and connection.framed is not None:
            self._passage = Passage(connection.framed, connection.send)

    def _engine_ended(self, error: EngineGone | None) -> None:
        """The engine's message ended, well or not: whether it was whole, the reader knows."""
        if self._over:
            return
        if error is not None:
            self._end(StreamBroken("The engine closed the connection in the middle of its answer."))
            return
        try:
            self._reader.end()
        except EngineError as broken:
            self._end(broken)
        else:
            self._end(None)

    async def _wait_for_the_end(self) -> None:
        try:
            async with asyncio.timeout(TAIL_SECONDS):
                await self._asking.answer.until(END)
        except (TimeoutError, EngineGone):
            return  # the end mark was there: the answer is whole

    def _complete(self) -> None:
        """Record, then send the end mark: what a client saw whole is in the journal."""
        exchange = self._exchange
        if not self._begun:
            self._begun = True
            exchange.status = 200
            self._connection.begin_stream(exchange, SSE, self._desk.dropped(self._dropped))
        self._desk.note_usage(exchange, self._reader.usage)
        self._desk.record(exchange)
        self._connection.end_stream(self._reader.tail)

    def _break(self, refusal: Refusal) -> None:
        """Say in the client's dialect that the answer is not whole, then end it."""
        exchange = self._exchange
        exchange.error = refusal.code
        self._desk.note_usage(exchange, self._reader.usage)
        self._desk.record(exchange)
        if self._connection.phase is not CLOSED:
            form = FORMS[exchange.dialect]
            self._connection.end_stream(form.broken(refusal, exchange.id.decode()))
