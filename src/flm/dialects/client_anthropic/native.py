"""Engines that speak the Messages API by themselves: requests and answers, passed on.

A plain piece of a stream is found by two byte searches: what FLM must see stands in an event whose
type begins with `message_`, or is an error, and inside a JSON string a double quote has a
backslash before it.
"""

from __future__ import annotations

import re

import msgspec

from flm.dialects.body import UNREADABLE
from flm.dialects.client_anthropic.usage import AnthropicUsage, counted, merged, read
from flm.dialects.codec import EngineAnswer, EngineCall, Shape, Usage
from flm.dialects.engine_errors import bad_answer, explain
from flm.dialects.sse import BLANK, cut
from flm.dialects.sse import payload as payload_of
from flm.errors import StreamBroken
from flm.wire.snapshot import Target

Raw = msgspec.Raw
Fields = dict[str, Raw]

PATH = "/v1/messages"
COUNT_PATH = "/v1/messages/count_tokens"

_SAID = re.compile(rb'"(?:text|thinking|partial_json)":[ ]?"((?:[^"\\]|\\.)+)"')
_NOTHING = (b"", b"null", b"false", b'""', b"{}")

_encode = msgspec.json.Encoder().encode
_decode_fields = msgspec.json.Decoder(Fields).decode


class _Block(msgspec.Struct, gc=False):
    type: str = ""


class _Stopped(msgspec.Struct, gc=False):
    stop_reason: str | None = None
    stop_sequence: str | None = None

    @property
    def misnamed(self) -> bool:
        """llama.cpp tells the sequence, and calls it the end of the turn (2026.10, recorded)."""
        return self.stop_reason == "end_turn" and self.stop_sequence is not None


class _Event(msgspec.Struct, gc=False):
    """What is read of an event."""

    type: str
    delta: _Stopped | None = None
    message: Raw = Raw()
    usage: Raw = Raw(b"null")
    content_block: _Block | None = None


_decode_event = msgspec.json.Decoder(_Event).decode
_decode_stopped = msgspec.json.Decoder(_Stopped).decode
_STOP_SEQUENCE = Raw(b'"stop_sequence"')


class NativeMessages:
    """A `Native` of the Messages API."""

    def __init__(self, fields: Fields, model: str, dropped: tuple[str, ...]) -> None:
        self._fields = fields
        self._model = model
        self._dropped = dropped

    def call(self, target: Target) -> EngineCall:
        """See `Native.call`."""
        return EngineCall(PATH, self.body(target), self._dropped)

    def counting(self, target: Target) -> EngineCall:
        """The call that counts the request's tokens."""
        return EngineCall(COUNT_PATH, self.body(target), self._dropped)

    def body(self, target: Target) -> bytes:
        """The fields as they came, with the engine's name for the model."""
        # Encoding them again, even unchanged, is what collapses duplicates.
        return _encode({**self._fields, "model": target.model})

    def answer(self, target: Target, body: bytes) -> EngineAnswer:
        """See `Native.answer`."""
        try:
            fields = _decode_fields(body)
        except UNREADABLE as error:
            raise bad_answer("it is not a JSON object") from error
        if bytes(fields.get("error", b"")) not in _NOTHING:
            raise explain(200, {}, body, target)
        if "content" not in fields:
            raise bad_answer("it holds no content")
        fields["model"] = Raw(_encode(self._model))
        try:
            if _decode_stopped(body).misnamed:
                fields["stop_reason"] = _STOP_SEQUENCE
        except UNREADABLE as error:
            raise bad_answer("its stop_reason is no text") from error
        return EngineAnswer(_encode(fields), counted(read(fields.get("usage"))))

    def stream(self, target: Target) -> MessagesStream:
        """See `Native.stream`."""
        return MessagesStream(self._model, target)


class MessagesStream:
    """A `StreamReader` for the same dialect on both sides."""

    def __init__(self, model: str, target: Target) -> None:
        self.tail = b""
        self.finished = False
        self.started = False
        self._model = model
        self._target = target
        self._carry = bytearray()
        self._counts: AnthropicUsage | None = None
        self._shape: Shape | None = None

    @property
    def usage(self) -> Usage | None:
        """See `StreamReader.usage`."""
        return counted(self._counts)

    def guess(self, usage: Usage) -> None:
        """See `StreamReader.guess`: the event that held them has gone on as it was."""
        del usage

    def feed(self, data: bytes) -> bytes:
        """See `StreamReader.feed`."""
        if self._is_plain(data):
            return data
        if self.finished:
            return b""
        return cut(self, self._carry, data)

    def shape(self, data: bytes) -> Shape | None:
        """See `StreamReader.shape`: events like the last one go on as they are."""
        if not self._is_plain(data):
            return None
        shape = self._shape
        if shape is not None and data.startswith(shape.before) and data.endswith(shape.after):
            return shape
        said = _SAID.search(data)
        if said is None:
            return None
        before, after = data[: said.start(1)], data[said.end(1) :]
        self._shape = shape = Shape(before, after, before, after)
        return shape

    def end(self) -> None:
        """See `StreamReader.end`. An end mark without the blank line after it counts."""
        if not self.finished and self._carry:
            rest = bytes(self._carry)
            if b'"message_stop"' in rest:
                self.event(rest.rstrip() + b"\n\n")
        if not self.finished:
            raise StreamBroken("The engine's stream ended before it was complete.")

    def _is_plain(self, data: bytes) -> bool:
        """Whether they are whole events of which FLM needs to see none."""
        return (
            self.started
            and not self._carry
            and not self.finished
            and data.endswith(BLANK)
            and data.find(b'"message_') < 0
            and data.find(b'"error"') < 0
        )

    def event(self, event: bytes) -> bytes:
        """See `sse.Events`."""
        payload = payload_of(event)
        try:
            read_of_it = _decode_event(payload)
        except UNREADABLE:
            if b'"error"' in payload:
                raise explain(200, {}, payload, self._target) from None
            return event  # a comment, or nothing that is FLM's to judge
        kind = read_of_it.type
        if kind == "error":
            raise explain(200, {}, payload, self._target)
        if kind == "message_stop":
            self.finished = True
            self.tail = event
            return b""
        if kind == "message_start":
            return self._start(event, payload, read_of_it.message)
        if kind == "message_delta":
            self._counts = merged(self._counts, read(read_of_it.usage))
            if read_of_it.delta is not None and read_of_it.delta.misnamed:
                return _renamed_stop(payload)
        elif kind == "content_block_delta":
            self.started = True
        elif kind == "content_block_start" and read_of_it.content_block is not None:
            self.started = self.started or read_of_it.content_block.type == "tool_use"
        return event

    def _start(self, event: bytes, payload: bytes, raw: Raw) -> bytes:
        try:
            message = _decode_fields(raw)
        except UNREADABLE:
            return event
        self._counts = merged(self._counts, read(message.get("usage")))
        name = Raw(_encode(self._model))
        if bytes(message.get("model", b"")) == bytes(name):
            return event
        message["model"] = name
        fields = {**_decode_fields(payload), "message": Raw(_encode(message))}
        return b"event: message_start\ndata: " + _encode(fields) + b"\n\n"


def _renamed_stop(payload: bytes) -> bytes:
    """A `message_delta` whose `stop_reason` is mended."""
    fields = _decode_fields(payload)
    delta = {**_decode_fields(fields["delta"]), "stop_reason": _STOP_SEQUENCE}
    fields["delta"] = Raw(_encode(delta))
    return b"event: message_delta\ndata: " + _encode(fields) + b"\n\n"
