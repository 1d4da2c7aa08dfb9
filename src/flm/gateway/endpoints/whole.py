"""One question, one whole answer: what all routes but conversations have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from flm.dialects.codec import EngineAnswer, EngineCall
from flm.dialects.engine import CODECS
from flm.dialects.estimates import Asked, estimate
from flm.errors import Refusal
from flm.gateway.endpoints.asking import Asking
from flm.gateway.endpoints.course import Course
from flm.gateway.upstream.answer import END
from flm.wire.snapshot import Target

if TYPE_CHECKING:
    from flm.gateway.desk import GatewayDesk
    from flm.gateway.edge.connection import Connection
    from flm.gateway.exchange import Exchange


async def answer_whole(
    exchange: Exchange,
    connection: Connection,
    desk: GatewayDesk,
    course: Course,
    call: Callable[[Target], EngineCall],
    read: Callable[[Target, bytes], EngineAnswer],
    counted: Asked | None = None,
) -> None:
    """Ask the engines of the `course` until one answers, and send what it said.

    `call` makes the request for an engine (it may refuse), `read` the client's answer of its own;
    `counted`: what tokens are guessed from where the engine tells none.
    """
    exchange.body = b""
    while True:
        live = course.next()
        try:
            with Asking(exchange, desk) as asking:
                target = asking.use(live) or await asking.woken(live)
                asked = call(target)
                await asking.ask(asked, END)
                answer = read(target, asking.result(CODECS[target.dialect]))
            break
        except Refusal as refusal:
            if not course.failed(live, refusal):
                course.note(live, ())
                raise
    course.note(live, asked.dropped)
    usage = answer.usage
    if usage is None and counted is not None:
        usage = estimate(counted, answer.body)
    exchange.usage = usage
    desk.answer(exchange, connection, answer.body, asked.dropped)
