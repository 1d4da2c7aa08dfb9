"""`POST /v1/chat/completions`, whole and streamed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flm.dialects.openai_chat import parse_chat
from flm.gateway.endpoints.converse import answer_chat

if TYPE_CHECKING:
    from flm.gateway.desk import GatewayDesk
    from flm.gateway.edge.connection import Connection
    from flm.gateway.exchange import Exchange


async def chat_completions(exchange: Exchange, connection: Connection, desk: GatewayDesk) -> None:
    """A chat completion."""
    rules = desk.live.rules
    chat = parse_chat(exchange.body, rules.policy, remote=rules.media_fetch)
    await answer_chat(exchange, connection, desk, chat)
