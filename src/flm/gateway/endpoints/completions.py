"""`POST /v1/completions`, whole and streamed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flm.dialects.codec import EngineAnswer, EngineCall
from flm.dialects.engine import CODECS
from flm.dialects.openai_completions import parse_completions
from flm.dialects.shaping import shaped_completion
from flm.gateway.endpoints.course import Course
from flm.gateway.endpoints.streamed import PlainTurn, answer_streamed
from flm.gateway.endpoints.whole import answer_whole
from flm.wire.snapshot import Target

if TYPE_CHECKING:
    from flm.gateway.desk import GatewayDesk
    from flm.gateway.edge.connection import Connection
    from flm.gateway.exchange import Exchange


async def completions(exchange: Exchange, connection: Connection, desk: GatewayDesk) -> None:
    """A text completion, under the publication's profile."""
    request = parse_completions(exchange.body, desk.live.rules.policy)
    course = Course(exchange, desk, request.model, "completions")
    if course.published is not None:
        request = shaped_completion(request, course.published)
    created, answer_id = int(exchange.arrived), "cmpl-" + exchange.id.decode()

    def call(target: Target) -> EngineCall:
        return CODECS[target.dialect].completions(request, target)

    def read(target: Target, body: bytes) -> EngineAnswer:
        codec = CODECS[target.dialect]
        return codec.completions_answer(request, target, body, created, answer_id)

    def turn_at(target: Target) -> PlainTurn:
        reader = CODECS[target.dialect].completions_stream(request, target, created, answer_id)
        return PlainTurn(call(target), reader)

    if request.stream:
        await answer_streamed(exchange, connection, desk, course, turn_at, request)
    else:
        await answer_whole(exchange, connection, desk, course, call, read, request)
