"""One question, a stream of events for an answer: what is no conversation, and streams."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from flm.dialects.codec import EngineCall, StreamReader
from flm.dialects.engine import CODECS
from flm.dialects.estimates import Asked
from flm.domain.traits import Api
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

STREAM_TYPES = ("text/event-stream", "application/x-ndjson")


async def answer_streamed(
    exchange: Exchange,
    connection: Connection,
    desk: GatewayDesk,
    model: str,
    call: Callable[[Target], EngineCall],
    reader: Callable[[Target], StreamReader],
    api: Api,
    counted: Asked | None = None,
) -> None:
    """Ask the model's engines until one speaks, and pass its events on.

    The parameters are those of `whole.answer_whole`; `reader` reads the engine's stream.
    """
    exchange.model = model
    exchange.streamed = True
    exchange.body = b""
    course = Course(exchange, desk, model, api)
    relay = Relay(exchange, connection, desk, ())
    live: LiveTarget | None = None
    try:
        while True:
            live = course.next()
            try:
                with Asking(exchange, desk) as asking:
                    target = asking.use(live) or await asking.woken(live)
                    asked = call(target)
                    relay.dropped = asked.dropped
                    answer = await asking.ask(asked, HEAD)
                    kind = answer.texts().get("content-type", "").partition(";")[0].strip()
                    if answer.status != OK or kind.lower() not in STREAM_TYPES:
                        raise CODECS[target.dialect].error(*await asking.collected(), target)
                    await relay.run(asking, reader(target))
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
    course.note(live, relay.dropped)
    await relay.complete(counted, None)
