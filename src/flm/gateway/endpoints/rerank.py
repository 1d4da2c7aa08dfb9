"""`POST /v1/rerank`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flm.dialects.codec import EngineAnswer, EngineCall
from flm.dialects.openai_rerank import parse_rerank, rerank_answer, rerank_call
from flm.gateway.endpoints.course import Course
from flm.gateway.endpoints.whole import answer_whole
from flm.wire.snapshot import Target

if TYPE_CHECKING:
    from flm.gateway.desk import GatewayDesk
    from flm.gateway.edge.connection import Connection
    from flm.gateway.exchange import Exchange


async def rerank(exchange: Exchange, connection: Connection, desk: GatewayDesk) -> None:
    """How relevant each document is to the query, by an engine that can tell."""
    request = parse_rerank(exchange.body, desk.live.rules.policy)
    answer_id = "rerank-" + exchange.id.decode()

    def call(target: Target) -> EngineCall:
        return rerank_call(request, target)

    def read(target: Target, body: bytes) -> EngineAnswer:
        return rerank_answer(request, target, body, answer_id)

    course = Course(exchange, desk, request.model, "rerank")
    await answer_whole(exchange, connection, desk, course, call, read)
