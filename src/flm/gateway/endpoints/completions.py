"""`POST /v1/completions`, whole and streamed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flm.dialects.codec import EngineAnswer, EngineCall, StreamReader
from flm.dialects.engine import CODECS
from flm.dialects.openai_completions import parse_completions
from flm.gateway.endpoints.streamed import answer_streamed
from flm.gateway.endpoints.whole import answer_whole
from flm.wire.snapshot import Target

if TYPE_CHECKING:
    from flm.gateway.desk import GatewayDesk
    from flm.gateway.edge.connection import Connection
    from flm.gateway.exchange import Exchange


async def completions(exchange: Exchange, connection: Connection, desk: GatewayDesk) -> None:
    """A text completion by the least loaded home of the model."""
    request = parse_completions(exchange.body, desk.live.rules.policy)
    created, answer_id = int(exchange.arrived), "cmpl-" + exchange.id.decode()

    def call(target: Target) -> EngineCall:
        return CODECS[target.dialect].completions(request, target)

    def read(target: Target, body: bytes) -> EngineAnswer:
        codec = CODECS[target.dialect]
        return codec.completions_answer(request, target, body, created, answer_id)

    def reader(target: Target) -> StreamReader:
        return CODECS[target.dialect].completions_stream(request, target, created, answer_id)

    if request.stream:
        await answer_streamed(
            exchange, connection, desk, request.model, call, reader, "completions", request
        )
    else:
        await answer_whole(
            exchange, connection, desk, request.model, call, read, "completions", request
        )
