"""Asking one engine: wake it, send, retry a stale connection once, let go."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Final

from flm.dialects.engine import EngineCall, EngineDialectCodec
from flm.errors import EngineError, Refusal
from flm.gateway.edge.caps import BUFFERED_ANSWERS
from flm.gateway.live import LiveTarget, request_lead
from flm.gateway.outline import Blobs, Piece, sliced
from flm.gateway.running import LARGE, in_task
from flm.gateway.upstream.answer import END, HEAD, Answer, EngineGone
from flm.gateway.upstream.connection import EngineConnection
from flm.wire.snapshot import Target

if TYPE_CHECKING:
    from flm.gateway.desk import GatewayDesk
    from flm.gateway.exchange import Exchange

OK: Final = 200
_SUSPICIOUS: Final = frozenset(
    {"engine_unreachable", "engine_gone", "engine_certificate_invalid", "stream_interrupted"}
)
"""Errors after which the controller looks whether the engine still lives."""

_NOT_ITS_FAULT: Final = frozenset({"answer_too_large", "internal_error"})

MAX_ANSWER: Final = 64 << 20
"""Bytes of one whole answer; embeddings of long lists are the largest there are."""


class Asking:
    """One request to an engine. A context: on leaving, nothing of it is left open.

    `use` counts a request as in flight in the step in which its target was chosen, so that one
    that is withdrawn is never used by a request the controller has not been told of.
    """

    __slots__ = (
        "_chunks", "_desk", "_engine", "_exchange", "_live", "_sent", "_taken", "answer",
    )  # fmt: skip

    def __init__(self, exchange: Exchange, desk: GatewayDesk) -> None:
        self._exchange = exchange
        self._desk = desk
        self._engine: EngineConnection | None = None
        self._live: LiveTarget | None = None
        self._sent = 0.0
        self._taken = 0
        self._chunks: list[bytes] = []
        self.answer: Answer

    def __enter__(self) -> Asking:
        return self

    def use(self, live: LiveTarget) -> Target | None:
        """Count a request as in flight there; None when it must be `woken` first."""
        return None if live.pool is None else self._take(live)

    async def woken(self, asleep: LiveTarget) -> Target:
        """The target that was asleep, once it is awake."""
        desk = self._desk
        self._exchange.engine = asleep.target.engine
        return self._take(await desk.wakes.awake(asleep.target.id, desk.live.rules.wake_seconds))

    def _take(self, live: LiveTarget) -> Target:
        self._live = live
        live.in_flight += 1
        live.breaker.asked()
        target = live.target
        self._exchange.engine = target.engine
        return target

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        live, engine, desk = self._live, self._engine, self._desk
        if live is None or live.pool is None:
            return
        if error is not None and getattr(error, "code", "") in _SUSPICIOUS:
            desk.suspect(live.target.engine)
        self._judge(live, error)
        if self._taken:
            desk.caps.answers -= self._taken
        if engine is not None:
            self.answer.release()
            live.pool.release(engine, desk.tick)
        live.in_flight -= 1
        live.last_use = desk.clock.now()
        if live.withdrawn and live.in_flight == 0:
            desk.target_idle(live)

    def _judge(self, live: LiveTarget, error: BaseException | None) -> None:
        """Tell the target's breaker what became of the request."""
        desk, exchange, rules = self._desk, self._exchange, self._desk.live.rules
        first = exchange.first_token
        slow = first is not None and self._sent and first - self._sent > rules.slow_seconds
        if error is None and not slow:
            live.breaker.well()
        elif slow or _is_failure(exchange.aborted if _was_cancelled(error) else error):
            live.breaker.failed(desk.tick, rules.breaker_failures, rules.breaker_seconds)
        else:
            live.breaker.let_go()

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

    async def ask(self, call: EngineCall, stage: int) -> Answer:
        """Send `call` and wait for the answer's `HEAD` or `END`.

        A reused connection that dies before any byte of the answer is retried once on a fresh
        one; nothing else is ever retried here.
        """
        live, exchange, rules = self._live, self._exchange, self._desk.live.rules
        assert live is not None
        assert live.pool is not None
        body, pieces, size = call.body, None, len(call.body)
        if exchange.blobs is not None or size > LARGE:
            body, pieces = b"", _in_pieces(exchange.blobs, body)
            size = sum(map(len, pieces))
        request = b"%bx-request-id: %b\r\ncontent-length: %d\r\n\r\n%b" % (
            live.lead(call.path),
            exchange.id,
            size,
            body,
        )
        run = exchange.run
        assert run is not None
        if stage == HEAD:
            self._sent = self._desk.clock.monotonic()
            await in_task()
        engine = live.pool.reuse()
        while True:
            if engine is None:
                engine = await live.pool.connect(rules.connect_seconds)
            self._engine = engine
            answer = self.answer = Answer(self._collect if stage == END else None)
            exchange.deadline = self._desk.tick + rules.first_byte_seconds
            engine.start(request, answer, pieces)
            try:
                if run.task is None:
                    await answer.parked(run)
                else:
                    await answer.until(stage)
            except EngineGone as gone:
                if gone.untouched and gone.reused:
                    engine = None
                    continue
                raise self._gone(answer) from gone
            exchange.deadline = None
            return answer

    async def connect(self) -> EngineConnection:
        """A connection of its own for a request whose body is sent piece by piece.

        One that was used before may be closed by then, and what was passed on is gone.
        """
        live = self._live
        assert live is not None
        assert live.pool is not None
        self._engine = engine = await live.pool.connect(self._desk.live.rules.connect_seconds)
        self.answer = Answer()
        return engine

    def start(self, path: str, kind: str, framing: bytes) -> None:
        """Send the head over it. `kind`: the type of the body; `framing`: the header line that
        says how it ends.
        """
        self._sent = self._desk.clock.monotonic()
        lead = request_lead(self.target, path, kind)
        head = b"%bx-request-id: %b\r\n%b\r\n" % (lead, self._exchange.id, framing)
        self.engine.start(head, self.answer)

    async def headed(self) -> Answer:
        """The answer to the request that was started, once its head is there."""
        try:
            await self.answer.until(HEAD)
        except EngineGone as gone:
            raise self._gone(self.answer) from gone
        return self.answer

    def _gone(self, answer: Answer) -> EngineError:
        if self._taken > MAX_ANSWER or self._desk.caps.answers > BUFFERED_ANSWERS:
            return _too_large()
        when = "before its answer was whole" if answer.touched else "without an answer"
        return EngineError(
            502, "engine_gone", f"The engine closed the connection {when}.", kind="upstream_error"
        )

    def _collect(self, data: bytes) -> None:
        """A piece of a whole answer. Called by the engine's connection: must not raise."""
        desk = self._desk
        self._exchange.deadline = desk.tick + desk.live.rules.idle_seconds
        size = len(data)
        self._chunks.append(data)
        self._taken += size
        desk.caps.answers += size
        if self._taken > MAX_ANSWER or desk.caps.answers > BUFFERED_ANSWERS:
            self._chunks.clear()
            self.engine.fail("too large")

    async def collected(self) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and body of an answer whose head is there already.

        Raises `EngineError` 502 when it is cut short or too large.
        """
        answer = self.answer
        self._exchange.deadline = self._desk.tick + self._desk.live.rules.idle_seconds
        answer.pour(self._collect, lambda error: None)
        try:
            await answer.until(END)
        except EngineGone as gone:
            raise self._gone(answer) from gone
        return answer.status, answer.texts(), b"".join(self._chunks)

    def result(self, codec: EngineDialectCodec) -> bytes:
        """The body of the whole answer when it is a result; raises what else it means."""
        answer = self.answer
        body = answer.whole
        if body is None:
            body = b"".join(self._chunks)
        elif self._desk.caps.answers + len(body) > BUFFERED_ANSWERS:
            raise _too_large()
        if answer.status != OK:
            raise codec.error(answer.status, answer.texts(), body, self.target)
        return body


def _in_pieces(blobs: Blobs | None, body: bytes) -> list[Piece]:
    """A large body as it is sent, with what was cut out of the client's in it again."""
    return list(sliced(memoryview(body))) if blobs is None else blobs.pieces(body)


def _was_cancelled(error: BaseException | None) -> bool:
    return isinstance(error, asyncio.CancelledError)


def _is_failure(error: BaseException | None) -> bool:
    """Whether it is the engine's own fault; one that is busy or loads (429, 503) is sound."""
    if not isinstance(error, Refusal) or error.code in _NOT_ITS_FAULT:
        return False
    return error.status >= 500 and error.status != 503


def _too_large() -> EngineError:
    return EngineError(
        502,
        "answer_too_large",
        "The engine's answer is too large to be held.",
        kind="upstream_error",
        should_retry=False,
    )
