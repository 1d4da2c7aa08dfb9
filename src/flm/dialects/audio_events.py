"""Server-sent events of transcriptions and of speech, passed on.

There are two kinds: OpenAI's own, which say what they are in `type` and end with
`transcript.text.done` or `speech.audio.done`; and those of vLLM, chunks as of a chat that end
with `[DONE]`.
"""

from __future__ import annotations

from typing import Any

import msgspec

from flm.dialects.body import UNREADABLE
from flm.dialects.codec import Usage
from flm.dialects.engine_errors import explain
from flm.dialects.openai_audio import audio_usage
from flm.dialects.sse import cut, payload
from flm.errors import StreamBroken
from flm.wire.snapshot import Target

MAX_EVENT = 8 << 20
"""A piece of sound in base64 is larger than a word."""

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
        return cut(self, self._carry, data, MAX_EVENT)

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

    def event(self, event: bytes) -> bytes:
        """See `sse.Events`."""
        data = payload(event)
        if data == b"[DONE]":
            self.tail += event
            self.finished = True
            return b""
        try:
            read = _decode(data)
        except UNREADABLE:
            return event  # a comment, or nothing that is FLM's to judge
        if read.error:
            raise explain(200, {}, data, self._target)
        self.usage = audio_usage(read.usage) or self.usage
        if read.model is not None and read.model != self._model:
            event = event.replace(data, self._renamed(data), 1)
        self.started = True
        # What comes behind the last event is held back in its place.
        before, self.tail = self.tail, b""
        if before or read.type in _LAST:
            self.tail = event
            return before
        return event

    def _renamed(self, payload: bytes) -> bytes:
        fields = msgspec.json.decode(payload, type=dict[str, msgspec.Raw])
        fields["model"] = msgspec.Raw(_encode(self._model))
        return _encode(fields)
