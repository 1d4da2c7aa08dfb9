"""`POST /v1/chat/completions`, whole and streamed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flm.dialects.engine import CODECS
from flm.dialects.openai_chat import parse_chat
from flm.gateway.endpoints.asking import OK, Asking
from flm.gateway.endpoints.relay import Relay
from flm.gateway.upstream.answer import END, HEAD

if TYPE_CHECKING:
    from flm.gateway.desk import GatewayDesk
    from flm.gateway.edge.connection import Connection
    from flm.gateway.exchange import Exchange

STREAM_TYPES = ("text/event-stream", "application/x-ndjson")


async def chat_completions(exchange: Exchange, connection: Connection, desk: GatewayDesk) -> None:
    """A chat completion by the least loaded home of the model."""
    request = parse_chat(exchange.body, desk.live.rules.policy)
    exchange.model = request.model
    exchange.streamed = request.stream
    created = int(exchange.arrived)
    answer_id = "chatcmpl-" + exchange.id.decode()
    with Asking(exchange, desk, request.model) as asking:
        target = asking.choose() or await asking.woken()
        codec = CODECS[target.dialect]
        call = codec.chat(request, target)
        exchange.body = b""
        dropped = call.dropped
        if request.stream:
            answer = await asking.ask(call, HEAD)
            kind = answer.texts().get("content-type", "").partition(";")[0].strip().lower()
            if answer.status != OK or kind not in STREAM_TYPES:
                raise codec.error(*await asking.collected(), target)
            reader = codec.chat_stream(request, target, created, answer_id)
            await Relay(exchange, connection, desk, asking, reader, dropped).run()
            return
        await asking.ask(call, END)
        result = codec.chat_answer(request, target, asking.result(codec), created, answer_id)
    exchange.usage = result.usage
    desk.answer(exchange, connection, result.body, dropped)
