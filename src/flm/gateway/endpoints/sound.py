"""Bytes on their way from the engine to the client, which no one looks into.

They have no end mark: what is not whole is cut, so that the client's own HTTP tells it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from flm.errors import EngineError, Refusal, StreamBroken
from flm.gateway.edge.connection import CLOSED
from flm.gateway.upstream.answer import EngineGone

if TYPE_CHECKING:
    from flm.gateway.desk import GatewayDesk
    from flm.gateway.edge.connection import Connection
    from flm.gateway.endpoints.asking import Asking
    from flm.gateway.exchange import Exchange

MAX_SOUND = 512 << 20
"""Bytes of one answer: a day of speech as MP3."""


class Sound:
    """One answer. ``begun``: some of it was sent."""

    def __init__(self, exchange: Exchange, connection: Connection, desk: GatewayDesk) -> None:
        self._exchange = exchange
        self._connection = connection
        self._desk = desk
        self._idle = desk.live.rules.idle_seconds
        self._kind = b""
        self._lines = b""
        self._last = b""
        self._size = 0
        self._ended: asyncio.Future[None] | None = None
        self.begun = False

    async def run(self, asking: Asking, kind: bytes, dropped: tuple[str, ...]) -> None:
        """Pass the body on until it has ended well. Raises `EngineError` when it has not."""
        exchange = self._exchange
        self._kind = kind
        self._lines = self._desk.dropped(dropped)
        self._ended = ended = asyncio.get_running_loop().create_future()
        try:
            exchange.on_pause = asking.engine.pause
            exchange.on_resume = asking.engine.resume
            exchange.deadline = self._desk.tick + self._idle
            asking.answer.pour(self._take, self._engine_ended)
            await ended
        finally:
            exchange.deadline = None
            exchange.on_pause = exchange.on_resume = None
            if self._connection.blocked:
                asking.engine.resume()  # others will use it

    def _take(self, data: bytes) -> None:
        """A piece from the engine. Called by its connection: must not raise."""
        if self._ended is None or self._ended.done():
            return
        self._exchange.deadline = self._desk.tick + self._idle
        self._size += len(data)
        if self._size > MAX_SOUND:
            self._ended.set_exception(_too_large())
            return
        if self._last:
            self._begin()
            self._connection.send(self._last)
        self._last = data

    def _begin(self) -> None:
        if not self.begun:
            self.begun = True
            self._exchange.status = 200
            self._exchange.first_token = self._desk.clock.monotonic()
            self._connection.begin_stream(self._exchange, self._kind, self._lines)

    def _engine_ended(self, error: EngineGone | None) -> None:
        if self._ended is None or self._ended.done():
            return
        if error is not None:
            self._ended.set_exception(
                StreamBroken("The engine closed the connection in the middle of its answer.")
            )
        else:
            self._ended.set_result(None)

    def complete(self) -> None:
        """Record, then send the last piece, which was held back for that."""
        self._begin()
        self._desk.record(self._exchange)
        self._connection.end_stream(self._last)

    def broke(self, error: Refusal | asyncio.CancelledError) -> None:
        """Cut what was begun. Raises `error` when nothing was, or the client has left."""
        exchange = self._exchange
        reason = exchange.aborted if isinstance(error, asyncio.CancelledError) else error
        if not self.begun or not isinstance(reason, Refusal):
            raise error
        exchange.error = reason.code
        self._desk.record(exchange)
        if self._connection.phase is not CLOSED:
            self._connection.cut()


def _too_large() -> EngineError:
    return EngineError(
        502,
        "answer_too_large",
        "The engine's answer is too large.",
        kind="upstream_error",
        should_retry=False,
    )
