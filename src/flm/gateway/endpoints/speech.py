"""`POST /v1/audio/speech`: text in, sound out, sent on as it is made."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

from flm.dialects.audio_events import AudioEvents
from flm.dialects.engine import CODECS
from flm.dialects.engine_errors import bad_answer
from flm.dialects.openai_audio import parse_speech, speech_call
from flm.errors import Refusal
from flm.gateway.endpoints.asking import OK, Asking
from flm.gateway.endpoints.course import Course
from flm.gateway.endpoints.sound import Sound
from flm.gateway.endpoints.streamed import PlainTurn, answer_streamed
from flm.gateway.live import LiveTarget
from flm.gateway.upstream.answer import HEAD

if TYPE_CHECKING:
    from flm.gateway.desk import GatewayDesk
    from flm.gateway.edge.connection import Connection
    from flm.gateway.exchange import Exchange

_SOUND = re.compile(r"audio/[a-z0-9][a-z0-9.+-]{0,40}|application/octet-stream")


async def speech(exchange: Exchange, connection: Connection, desk: GatewayDesk) -> None:
    """A text, spoken."""
    request = parse_speech(exchange.body, desk.live.rules.policy)
    course = Course(exchange, desk, request.model, "speech")
    if request.events:
        await answer_streamed(
            exchange,
            connection,
            desk,
            course,
            lambda target: PlainTurn(
                speech_call(request, target), AudioEvents(request.model, target)
            ),
        )
        return
    exchange.streamed = True
    exchange.body = b""
    sound = Sound(exchange, connection, desk)
    live: LiveTarget | None = None
    try:
        while True:
            live = course.next()
            try:
                with Asking(exchange, desk) as asking:
                    target = asking.use(live) or await asking.woken(live)
                    call = speech_call(request, target)
                    answer = await asking.ask(call, HEAD)
                    kind = answer.texts().get("content-type", "").partition(";")[0].strip().lower()
                    if answer.status != OK or kind == "application/json":
                        raise CODECS[target.dialect].error(*await asking.collected(), target)
                    if not _SOUND.fullmatch(kind):
                        raise bad_answer("it is no sound")
                    await sound.run(asking, kind.encode(), call.dropped)
                break
            except Refusal as refusal:
                if sound.begun or not course.failed(live, refusal):
                    raise
    except (Refusal, asyncio.CancelledError) as error:
        course.note(live, request.dropped)
        sound.broke(error)
        return
    course.note(live, request.dropped)
    sound.complete()
