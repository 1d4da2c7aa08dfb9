"""`POST /v1/audio/transcriptions` and `/v1/audio/translations`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Literal

from flm.dialects.audio_events import AudioEvents
from flm.dialects.engine import CODECS
from flm.dialects.engine_errors import bad_answer
from flm.dialects.openai_audio import TRANSCRIPTION, TRANSLATION, AudioForm, audio_answer
from flm.errors import Refusal
from flm.gateway.able import only
from flm.gateway.endpoints.asking import OK, Asking
from flm.gateway.endpoints.course import Course
from flm.gateway.endpoints.relay import Relay
from flm.gateway.endpoints.uploading import Uploading
from flm.gateway.live import LiveTarget
from flm.gateway.running import in_task

if TYPE_CHECKING:
    from flm.gateway.desk import GatewayDesk
    from flm.gateway.edge.connection import Connection
    from flm.gateway.exchange import Exchange

AUDIO_LIMIT = 100 << 20
"""Bytes of a form with a file."""

Hearing = Literal["transcriptions", "translations"]

_EVENTS = "text/event-stream"
_JSON = "application/json"
_TEXTS = {
    _JSON: b"application/json",
    "text/plain": b"text/plain; charset=utf-8",
    "text/vtt": b"text/vtt; charset=utf-8",
    "text/srt": b"application/x-subrip; charset=utf-8",
    "application/x-subrip": b"application/x-subrip; charset=utf-8",
}
"""What an engine may answer, and how it is called to the client."""


async def transcriptions(exchange: Exchange, connection: Connection, desk: GatewayDesk) -> None:
    """What is said in a file, in its own language."""
    await _hear(exchange, connection, desk, "transcriptions", TRANSCRIPTION)


async def translations(exchange: Exchange, connection: Connection, desk: GatewayDesk) -> None:
    """What is said in a file, in English."""
    await _hear(exchange, connection, desk, "translations", TRANSLATION)


async def _hear(
    exchange: Exchange,
    connection: Connection,
    desk: GatewayDesk,
    api: Hearing,
    known: frozenset[str],
) -> None:
    # 1.5 MB that a gateway without such requests does not need.
    from flm.dialects.multipart_form import MultipartForm, boundary_of

    request = exchange.request
    assert request is not None
    boundary = boundary_of(request.values.get(b"content-type", b""))
    rules = AudioForm(known, desk.live.rules.policy)
    kind = f'multipart/form-data; boundary="{boundary.decode("latin-1")}"'
    await in_task()
    with Uploading(exchange, desk, MultipartForm(boundary, rules), kind) as uploading:
        model = await uploading.named() or _taken(desk, api)
        exchange.model = model
        ears = Ears(exchange, connection, desk, uploading, rules)
        await ears.listen(Course(exchange, desk, model, api), f"/v1/audio/{api}", model)


def _taken(desk: GatewayDesk, api: Hearing) -> str:
    """The model where the form did not name one in time: the only one there is."""
    found = only(desk.live.routes, api)
    if found is None:
        raise Refusal(
            400,
            "model_named_late",
            "The form does not name its model in its first 32 MiB. Send the field 'model' in front"
            " of the file.",
            param="model",
        )
    return found


class Ears:
    """One file and what is heard in it: whole, or event by event."""

    def __init__(
        self,
        exchange: Exchange,
        connection: Connection,
        desk: GatewayDesk,
        uploading: Uploading,
        rules: AudioForm,
    ) -> None:
        self._exchange = exchange
        self._connection = connection
        self._desk = desk
        self._uploading = uploading
        self._rules = rules
        self._relay: Relay | None = None

    async def listen(self, course: Course, path: str, model: str) -> None:
        """Ask the engines of the course until one takes the file; send what it hears."""
        live: LiveTarget | None = None
        try:
            while True:
                live = course.next()
                try:
                    with Asking(self._exchange, self._desk) as asking:
                        heard = await self._ask(asking, live, path, model)
                    break
                except Refusal as refusal:
                    if self._uploading.begun or not course.failed(live, refusal):
                        raise
        except (Refusal, asyncio.CancelledError) as error:
            course.note(live, self._dropped)
            if self._relay is None:
                raise
            self._relay.broke(error)
            return
        finally:
            if self._relay is not None:
                self._relay.close()
        course.note(live, self._dropped)
        await self._say(heard)

    @property
    def _dropped(self) -> tuple[str, ...]:
        return tuple(sorted(set(self._rules.dropped)))

    async def _ask(
        self, asking: Asking, live: LiveTarget, path: str, model: str
    ) -> tuple[bytes, bytes]:
        """Type and text of the answer; where that is events, they are passed on already."""
        target = asking.use(live) or await asking.woken(live)
        uploading, exchange = self._uploading, self._exchange
        try:
            answer = await uploading.send(asking, path, model)
            kind = answer.texts().get("content-type", "").partition(";")[0].strip().lower()
            if answer.status == OK and kind == _EVENTS:
                exchange.streamed = True
                self._relay = Relay(exchange, self._connection, self._desk, self._dropped)
                await self._relay.run(asking, AudioEvents(model, target))
                return b"", b""
            status, headers, body = await asking.collected()
        finally:
            uploading.finish()
        if status != OK:
            error = CODECS[target.dialect].error(status, headers, body, target)
            if error.param == "messages":  # where a chat has its sound
                error.param = "file"
            raise error
        named = _TEXTS.get(kind)
        if named is None:
            raise bad_answer("it is neither JSON nor text")
        if kind == _JSON:
            found = audio_answer(body, model, target)
            exchange.usage = found.usage
            body = found.body
        return named, body

    async def _say(self, heard: tuple[bytes, bytes]) -> None:
        if self._relay is not None:
            await self._relay.complete(None, None)
            return
        exchange, connection, desk = self._exchange, self._connection, self._desk
        exchange.status = 200
        desk.record(exchange)
        connection.answer(exchange, 200, *heard, desk.dropped(self._dropped))
