"""Asking an engine: choose a home, wake it, send, retry a stale connection once, let go."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING

from flm.dialects.engine import EngineCall, EngineDialectCodec
from flm.errors import EngineError
from flm.gateway.live import LiveTarget
from flm.gateway.upstream.answer import Answer, EngineGone
from flm.gateway.upstream.connection import EngineConnection
from flm.wire.snapshot import Target

if TYPE_CHECKING:
    from flm.gateway.desk import GatewayDesk
    from flm.gateway.edge.connection import Connection
    from flm.gateway.exchange import Exchange

MAX_ANSWER = 64 << 20
"""Bytes of one whole answer; embeddings of long lists are the largest there are."""


class Asking:
    """One request to an engine. An async context: on leaving, nothing of it is left open.

    Entering chooses the target and counts it as in flight in the same step, so that a target
    that is withdrawn is never used by a request the controller has not been told of.
    """

    __slots__ = (
        "_connection", "_desk", "_engine", "_exchange", "_live", "_model", "_taken", "answer",
    )  # fmt: skip

    def __init__(
        self, exchange: Exchange, connection: Connection, desk: GatewayDesk, model: str
    ) -> None:
        self._exchange = exchange
        self._connection = connection
        self._desk = desk
        self._model = model
        self._engine: EngineConnection | None = None
        self._live: LiveTarget | None = None
        self._taken = 0
        self.answer: Answer

    async def __aenter__(self) -> Asking:
        live = self._desk.live.choose(self._model)
        if live.pool is None:
            live = await self._desk.wakes.awake(live.target.id, self._desk.live.rules.wake_seconds)
        self._live = live
        self._exchange.engine = live.target.engine
        live.in_flight += 1
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        live, engine = self._live, self._engine
        if self._taken:
            self._desk.caps.buffer_answer(-self._taken)
        if live is None:
            return
        if engine is not None:
            if engine.reusable and live.pool is not None:
                live.pool.release(engine, self._desk.clock.monotonic())
            else:
                engine.abandon()
        live.in_flight -= 1
        live.last_use = self._desk.clock.now()
        if live.in_flight == 0:
            self._desk.target_idle(live)

    @property
    def target(self) -> Target:
        """The target that was chosen."""
        assert self._live is not None
        return self._live.target

    @property
    def engine(self) -> EngineConnection:
        """The connection the answer comes over."""
        assert self._engine is not None
        return self._engine

    async def _send(self, call: EngineCall) -> Answer:
        """Send `call` and wait for the answer's head.

        A reused connection that dies before any byte of the answer is retried once on a fresh
        one; nothing else is ever retried here.
        """
        live, exchange, rules = self._live, self._exchange, self._desk.live.rules
        assert live is not None
        assert live.pool is not None
        body = call.body
        request = b"POST %b HTTP/1.1\r\n%bx-request-id: %b\r\ncontent-length: %d\r\n\r\n%b" % (
            (live.target.prefix + call.path).encode(),
            live.lead,
            exchange.id.encode(),
            len(body),
            body,
        )
        engine = live.pool.reuse()
        while True:
            if engine is None:
                engine = await live.pool.connect(rules.connect_seconds)
            self._engine = engine
            answer = self.answer = Answer()
            exchange.deadline = self._desk.clock.monotonic() + rules.first_byte_seconds
            engine.start(request, answer)
            try:
                await answer.head
            except EngineGone as gone:
                if gone.untouched and gone.reused:
                    engine = None
                    continue
                raise EngineError(
                    502, "engine_gone", "The engine closed the connection without an answer.",
                    kind="upstream_error",
                ) from gone  # fmt: skip
            return answer

    async def headed(self, call: EngineCall) -> Answer:
        """The answer as soon as its status and headers are there."""
        answer = await self._send(call)
        self._exchange.deadline = None
        return answer

    async def collected(self) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and the whole body of the answer, however it ends well.

        Raises `EngineError` 502 when it is cut short or too large.
        """
        answer, exchange = self.answer, self._exchange
        excess: list[EngineError] = []
        chunks: list[bytes] = []

        def take(data: bytes) -> None:
            idle = self._desk.live.rules.idle_seconds
            exchange.deadline = self._desk.clock.monotonic() + idle
            self._taken += len(data)
            chunks.append(data)
            if not self._desk.caps.buffer_answer(len(data)) or self._taken > MAX_ANSWER:
                excess.append(
                    EngineError(
                        502,
                        "answer_too_large",
                        "The engine's answer is too large to be held.",
                        kind="upstream_error",
                        should_retry=False,
                    )
                )
                asyncio.get_running_loop().call_soon(self.engine.close)
                chunks.clear()

        exchange.deadline = self._desk.clock.monotonic() + self._desk.live.rules.idle_seconds
        answer.pour(take)
        try:
            await answer.done
        except EngineGone as gone:
            raise excess[0] if excess else EngineError(
                502, "engine_gone", "The engine closed the connection before its answer was whole.",
                kind="upstream_error",
            ) from gone  # fmt: skip
        exchange.deadline = None
        if excess:
            raise excess[0]
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        return answer.status, answer.headers, body

    async def whole(self, call: EngineCall, codec: EngineDialectCodec) -> bytes:
        """The body of the whole answer when it is a result; raises what else it means."""
        await self._send(call)
        status, headers, body = await self.collected()
        if status != 200:
            raise codec.error(status, headers, body, self.target)
        return body
