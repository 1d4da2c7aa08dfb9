"""Server-sent events of transcriptions and of speech, passed on.

There are two kinds: OpenAI's own, which say what they are in `type` and end with
`transcript.text.done` or `speech.audio.done`; and those of vLLM, chunks as of a chat that end
with `[DONE]`.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from flm.dialects.body import UNREADABLE
from flm.dialects.codec import Usage
from flm.dialects.engine_errors import explain
from flm.dialects.openai_audio import audio_usage
from flm.errors import EngineError, StreamBroken
from flm.wire.snapshot import Target

MAX_EVENT = 8 << 20
"""A piece of sound in base64 is larger than a word."""

_END_OF_EVENT = re.compile(rb"\r?\n\r?\n")
_DATA = re.compile(rb"^data:[ \t]?(.*?)\r?$", re.MULTILINE)
_LAST = frozenset({"transcript.text.done", "speech.audio.done"})
_NOTHING = msgspec.Raw(b"null")


class _Event(msgspec.Struct):
    type: Any = None
    model: str | None = None
    usage: msgspec.Raw = _NOTHING
    error: Any = None


_decode = msgspec.json.Decoder(_Event).decode
_encode = msgspec.json.Encoder().encode


class AudioEvents:
    """A `StreamReader` of one of them."""

    def __init__(self, model: str, target: Target) -> None:
        self.tail = b""
        self.finished = False
        self.usage: Usage | None = None
        self.started = False
        self._model = model
        self._target = target
        self._carry = bytearray()

    def feed(self, data: bytes) -> bytes:
        """See `StreamReader.feed`."""
        if self.finished:
            return b""
        carry = self._carry
        fresh = max(0, len(carry) - 3)
        carry += data
        out: list[bytes] = []
        if _END_OF_EVENT.search(carry, fresh):
            self._whole_events(out)
        if len(carry) > MAX_EVENT:
            error = StreamBroken(
                f"The engine sent an event of more than {MAX_EVENT >> 20} MB.",
                code="event_too_large",
            )
            error.before = b"".join(out)
            raise error
        return b"".join(out)

    def guess(self, usage: Usage) -> None:
        """See `StreamReader.guess`. Sound is not counted by its bytes."""
        del usage

    def shape(self, data: bytes) -> None:
        """See `StreamReader.shape`. Every event is looked at."""
        del data

    def end(self) -> None:
        """See `StreamReader.end`. `[DONE]` need not follow OpenAI's own last event."""
        if not self.finished and not self.tail:
            raise StreamBroken("The engine's stream ended before it was complete.")
        self.finished = True

    def _whole_events(self, out: list[bytes]) -> None:
        buffer = bytes(self._carry)
        start = 0
        try:
            for found in _END_OF_EVENT.finditer(buffer):
                self._event(buffer[start : found.end()], out)
                start = found.end()
                if self.finished:
                    start = len(buffer)
                    break
        except EngineError as error:
            error.before = b"".join(out)
            raise
        del self._carry[:start]

    def _event(self, event: bytes, out: list[bytes]) -> None:
        payload = b"\n".join(_DATA.findall(event)).strip()
        if payload == b"[DONE]":
            self.tail += event
            self.finished = True
            return
        try:
            read = _decode(payload)
        except UNREADABLE:
            out.append(event)  # a comment, or nothing that is FLM's to judge
            return
        if read.error:
            raise explain(200, {}, payload, self._target)
        self.usage = audio_usage(read.usage) or self.usage
        if read.model is not None and read.model != self._model:
            event = event.replace(payload, self._renamed(payload), 1)
        self.started = True
        if self.tail:  # what comes behind the last event is held back in its place
            out.append(self.tail)
            self.tail = event
        elif read.type in _LAST:
            self.tail = event
        else:
            out.append(event)

    def _renamed(self, payload: bytes) -> bytes:
        fields = msgspec.json.decode(payload, type=dict[str, msgspec.Raw])
        fields["model"] = msgspec.Raw(_encode(self._model))
        return _encode(fields)
