"""`POST /v1/embeddings`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flm.dialects.engine import CODECS
from flm.dialects.openai_embeddings import parse_embeddings
from flm.gateway.endpoints.asking import Asking
from flm.gateway.upstream.answer import END

if TYPE_CHECKING:
    from flm.gateway.desk import GatewayDesk
    from flm.gateway.edge.connection import Connection
    from flm.gateway.exchange import Exchange


async def embeddings(exchange: Exchange, connection: Connection, desk: GatewayDesk) -> None:
    """Embeddings of text, in the encoding the client asked for."""
    request = parse_embeddings(exchange.body, desk.live.rules.policy)
    exchange.model = request.model
    with Asking(exchange, desk, request.model) as asking:
        target = asking.choose() or await asking.woken()
        codec = CODECS[target.dialect]
        call = codec.embeddings(request, target)
        await asking.ask(call, END)
        answer = codec.embeddings_answer(request, target, asking.result(codec))
    exchange.usage = answer.usage
    desk.answer(exchange, connection, answer.body, call.dropped)
