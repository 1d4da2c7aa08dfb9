"""`POST /v1/images/generations`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flm.dialects.codec import EngineAnswer, EngineCall
from flm.dialects.openai_images import image_answer, image_call, parse_image
from flm.gateway.endpoints.course import Course
from flm.gateway.endpoints.whole import answer_whole
from flm.wire.snapshot import Target

if TYPE_CHECKING:
    from flm.gateway.desk import GatewayDesk
    from flm.gateway.edge.connection import Connection
    from flm.gateway.exchange import Exchange


async def images(exchange: Exchange, connection: Connection, desk: GatewayDesk) -> None:
    """Pictures, by an engine that draws."""
    request = parse_image(exchange.body, desk.live.rules.policy)

    def call(target: Target) -> EngineCall:
        return image_call(request, target)

    def read(target: Target, body: bytes) -> EngineAnswer:
        return image_answer(request, target, body)

    course = Course(exchange, desk, request.model, "images")
    await answer_whole(exchange, connection, desk, course, call, read)
