"""`POST /v1/embeddings`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flm.dialects.codec import EngineAnswer, EngineCall
from flm.dialects.engine import CODECS
from flm.dialects.openai_embeddings import parse_embeddings
from flm.gateway.endpoints.course import Course
from flm.gateway.endpoints.whole import answer_whole
from flm.wire.snapshot import Target

if TYPE_CHECKING:
    from flm.gateway.desk import GatewayDesk
    from flm.gateway.edge.connection import Connection
    from flm.gateway.exchange import Exchange


async def embeddings(exchange: Exchange, connection: Connection, desk: GatewayDesk) -> None:
    """Embeddings of text, in the encoding the client asked for."""
    request = parse_embeddings(exchange.body, desk.live.rules.policy)

    def call(target: Target) -> EngineCall:
        return CODECS[target.dialect].embeddings(request, target)

    def read(target: Target, body: bytes) -> EngineAnswer:
        return CODECS[target.dialect].embeddings_answer(request, target, body)

    course = Course(exchange, desk, request.model)
    await answer_whole(exchange, connection, desk, course, call, read)
