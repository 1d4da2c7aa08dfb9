"""One question, a stream of events for an answer: what all routes that stream have in common."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from flm.dialects.codec import EngineCall, StreamReader
from flm.dialects.conversation import Keeper
from flm.dialects.engine import CODECS
from flm.dialects.estimates import Asked
from flm.errors import Refusal
from flm.gateway.endpoints.asking import OK, Asking
from flm.gateway.endpoints.course import Course
from flm.gateway.endpoints.relay import Relay
from flm.gateway.live import LiveTarget
from flm.gateway.upstream.answer import HEAD
from flm.wire.snapshot import Target

if TYPE_CHECKING:
    from flm.gateway.desk import GatewayDesk
    from flm.gateway.edge.connection import Connection
    from flm.gateway.exchange import Exchange

STREAM_TYPES: Final = ("text/event-stream", "application/x-ndjson")


class Turn(Protocol):
    """What one engine is asked."""

    @property
    def call(self) -> EngineCall:
        """The request."""
        ...

    def reader(self) -> StreamReader:
        """Reads the engine's stream, and gives the client's events."""
        ...


class PlainTurn:
    """A `Turn` that is ready made."""

    def __init__(self, call: EngineCall, reader: StreamReader) -> None:
        self._call = call
        self._reader = reader

    @property
    def call(self) -> EngineCall:
        """The request."""
        return self._call

    def reader(self) -> StreamReader:
        """The reader."""
        return self._reader


async def answer_streamed(
    exchange: Exchange,
    connection: Connection,
    desk: GatewayDesk,
    course: Course,
    turn_at: Callable[[Target], Turn],
    counted: Asked | None = None,
    dropped: tuple[str, ...] = (),
    keeper: Keeper | None = None,
) -> None:
    """Ask the engines of the `course` until one speaks, and pass its events on.

    `turn_at` makes the request for an engine (it may refuse); `counted`: what tokens are guessed
    from where the engine tells none; `dropped`: what no engine gets; `keeper`: see
    `Conversation.keeper`.
    """
    exchange.streamed = True
    exchange.body = b""
    relay = Relay(exchange, connection, desk, dropped)
    live: LiveTarget | None = None
    try:
        while True:
            live = course.next()
            try:
                with Asking(exchange, desk) as asking:
                    target = asking.use(live) or await asking.woken(live)
                    turn = turn_at(target)
                    relay.dropped = turn.call.dropped
                    answer = await asking.ask(turn.call, HEAD)
                    kind = answer.texts().get("content-type", "").partition(";")[0].strip()
                    if answer.status != OK or kind.lower() not in STREAM_TYPES:
                        raise CODECS[target.dialect].error(*await asking.collected(), target)
                    await relay.run(asking, turn.reader())
                break
            except Refusal as refusal:
                if relay.spoke or not course.failed(live, refusal):
                    raise
    except (Refusal, asyncio.CancelledError) as error:
        course.note(live, relay.dropped)
        relay.broke(error)
        return
    finally:
        relay.close()
    course.answered(live)
    course.note(live, relay.dropped)
    await relay.complete(counted, keeper)
