"""`POST /v1/chat/completions`, whole and streamed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flm.dialects.body import decode_object
from flm.dialects.chat_parsing import parse_chat
from flm.dialects.client_openai.conversation import conversation_of
from flm.gateway.endpoints.converse import answer_alone, answer_chat, converse
from flm.gateway.outline import outline_body
from flm.gateway.running import LARGE, others_first

if TYPE_CHECKING:
    from flm.gateway.desk import GatewayDesk
    from flm.gateway.edge.connection import Connection
    from flm.gateway.exchange import Exchange


async def chat_completions(exchange: Exchange, connection: Connection, desk: GatewayDesk) -> None:
    """A chat completion."""
    fields = None
    if len(exchange.body) > LARGE:
        await outline_body(exchange, desk)
        if len(exchange.body) > LARGE:  # it is text, and judged in two steps
            fields = decode_object(exchange.body)
            await others_first()
    rules = desk.live.rules
    chat = parse_chat(exchange.body, rules.policy, remote=rules.media_fetch, fields=fields)
    params = chat.params
    # A chat without tools and without a history has none but functions: no further look.
    if params.tools or params.tool_choice is not None or len(params.messages) > 1:
        conversation = conversation_of(chat)
        if conversation is not None:
            await converse(exchange, connection, desk, conversation)
            return
    if fields is None and not (chat.stream or chat.remote_media):
        live = desk.live.alone(chat.model)
        if live is not None:
            await answer_alone(exchange, connection, desk, chat, live)
            return
    await answer_chat(exchange, connection, desk, chat)
