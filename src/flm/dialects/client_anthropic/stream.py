"""OpenAI's stream of chunks as Anthropic's events.

Anthropic's content blocks follow one another, while OpenAI's tool calls may be told in turns: the
call that is open goes on, and what else is said waits until it is whole or the answer is. A text
passes as the JSON string it came as: both sides spell those alike.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from flm.dialects.client_anthropic.answer import (
    MessageObject,
    call_id,
    input_of,
    message_id,
    signature,
    stop_details,
    stop_reason,
)
from flm.dialects.client_anthropic.calls import CallDelta, StreamedCall, StreamedCalls
from flm.dialects.client_anthropic.chunks import (
    Chunk,
    decoded,
    is_only_text,
    is_text,
    thought_of,
)
from flm.dialects.client_anthropic.usage import written
from flm.dialects.codec import Shape, Usage
from flm.dialects.conversation import Stamp
from flm.errors import EngineError

Raw = msgspec.Raw
_encode = msgspec.json.Encoder().encode

MESSAGE_STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
_STOP = b'event: content_block_stop\ndata: {"type":"content_block_stop","index":%d}\n\n'
_START = (
    b"event: content_block_start\n"
    b'data: {"type":"content_block_start","index":%d,"content_block":%b}\n\n'
)
_DELTA = (
    b"event: content_block_delta\n"
    b'data: {"type":"content_block_delta","index":%d,"delta":{"type":"%b","%b":'
)
_END = b"}}\n\n"
_PROBE = b"x"

Said = Literal["text", "thinking"]
_DELTAS = {"text": (b"text_delta", b"text"), "thinking": (b"thinking_delta", b"thinking")}
_BLOCKS = {
    "text": b'{"type":"text","text":""}',
    "thinking": b'{"type":"thinking","thinking":"","signature":""}',
}


_Waiting = StreamedCall | tuple[Said, Raw]


class MessagesWriter:
    """A `StreamWriter` of Anthropic's events."""

    def __init__(self, model: str, stops: tuple[str, ...], stamp: Stamp) -> None:
        self._model = model
        self._stops = stops
        self._id = message_id(stamp)
        self._begun = False
        self._index = 0
        self._open: Said | StreamedCall | None = None
        self._lead = b""
        """What stands before a text of the open block."""
        self._calls = StreamedCalls()
        self._waiting: list[_Waiting] = []
        self._refused = False
        self._finish: str | None = None
        self._stopped_by: str | int | None = None
        self._theirs: Shape | None = None
        self._ours: Shape | None = None

    def feed(self, events: bytes) -> bytes:
        """See `StreamWriter.feed`. Raises `EngineError` 502 for what is no chunk."""
        out: list[bytes] = []
        try:
            for line in events.splitlines():
                if line.startswith(b"data:"):
                    self._chunk(decoded(line), out)
        except EngineError as error:
            error.before = b"".join(out)
            raise
        return b"".join(out)

    def end(self, usage: Usage | None) -> bytes:
        """See `StreamWriter.end`."""
        out: list[bytes] = []
        if not self._begun:
            self._begin(out)
        self._close_all(out)
        called = bool(self._calls)
        reason, sequence = stop_reason(self._finish, self._stopped_by, self._stops, called)
        if self._refused:
            reason, sequence = "refusal", None
        delta: dict[str, object] = {"stop_reason": reason, "stop_sequence": sequence}
        details = stop_details(reason)
        if details is not None:
            delta["stop_details"] = details
        event = {"type": "message_delta", "delta": delta, "usage": written(usage)}
        out += (b"event: message_delta\ndata: ", _encode(event), b"\n\n", MESSAGE_STOP)
        return b"".join(out)

    def shape(self, shape: Shape) -> Shape | None:
        """See `StreamWriter.shape`: texts and thoughts of the block that is open pass."""
        if shape is self._theirs:
            return self._ours
        ours = None
        if isinstance(self._open, str) and _adds_to(self._open, shape):
            ours = Shape(shape.before, shape.after, self._lead + b'"', b'"' + _END)
        self._theirs, self._ours = shape, ours
        return ours

    def _chunk(self, chunk: Chunk, out: list[bytes]) -> None:
        if not self._begun:
            self._begin(out)
        if not chunk.choices:
            return
        choice = chunk.choices[0]
        delta = choice.delta
        if self._open == "text" and delta is not None and is_only_text(choice, delta):
            out += (self._lead, delta.content, _END)  # as nearly every chunk
            return
        if delta is not None:
            thought = thought_of(delta)
            if is_text(thought):
                self._say("thinking", thought, out)
            if is_text(delta.content):
                self._say("text", delta.content, out)
            if is_text(delta.refusal):
                self._refused = True
                self._say("text", delta.refusal, out)
            for place, call in enumerate(delta.tool_calls or ()):
                self._call(call, place, out)
            if delta.function_call is not None:
                self._call(CallDelta(delta.function_call), 0, out)
        if choice.finish_reason is not None:
            self._finish = choice.finish_reason
            self._stopped_by = choice.stop_reason
            self._close_all(out)

    def _begin(self, out: list[bytes]) -> None:
        self._begun = True
        message = MessageObject(
            id=self._id,
            model=self._model,
            content=[],
            stop_reason=None,
            stop_sequence=None,
            usage=written(None),
        )
        event = {"type": "message_start", "message": message}
        out += (b"event: message_start\ndata: ", _encode(event), b"\n\n")

    def _say(self, kind: Said, text: Raw, out: list[bytes]) -> None:
        opened = self._open
        if isinstance(opened, StreamedCall):
            if not opened.whole:
                self._waiting.append((kind, text))
                return
            self._close(out)
            self._go_on(out)
            if isinstance(self._open, StreamedCall):
                self._waiting.append((kind, text))
                return
        self._write(kind, text, out)

    def _write(self, kind: Said, text: Raw, out: list[bytes]) -> None:
        if self._open != kind:
            self._close(out)
            out.append(_START % (self._index, _BLOCKS[kind]))
            self._open = kind
            self._lead = _DELTA % (self._index, *_DELTAS[kind])
            self._theirs = None
        out += (self._lead, text, _END)

    def _call(self, delta: CallDelta, place: int, out: list[bytes]) -> None:
        """Add to a tool call, which is begun, goes on, or waits."""
        call, new = self._calls.find(delta, place)
        call.add(delta)
        if new:
            self._waiting.append(call)
        opened = self._open
        if opened is call:
            self._argue(call, out)
        elif not isinstance(opened, StreamedCall) or opened.whole:
            self._go_on(out)

    def _go_on(self, out: list[bytes]) -> None:
        """Say what waits, up to the first call that is not whole."""
        while self._waiting:
            first = self._waiting[0]
            if isinstance(first, StreamedCall):
                if not first.name and len(self._waiting) == 1:
                    return  # its name is still to come
                self._begin_call(first, out)
            else:
                self._write(*first, out)
            del self._waiting[0]
            if isinstance(first, StreamedCall) and not (self._waiting and first.whole):
                return

    def _begin_call(self, call: StreamedCall, out: list[bytes]) -> None:
        self._close(out)
        block = {
            "type": "tool_use",
            "id": call_id(call.id, self._id, self._index),
            "name": call.name,
            "input": {},
        }
        out.append(_START % (self._index, _encode(block)))
        self._open = call
        self._argue(call, out)

    def _argue(self, call: StreamedCall, out: list[bytes]) -> None:
        """Send what of the arguments was not sent yet. Those that do not begin as an object wait
        for the end, and are mended there.
        """
        text = call.unsent() if call.is_object else ""
        if text:
            self._partial(text, out)

    def _partial(self, text: str, out: list[bytes]) -> None:
        lead = _DELTA % (self._index, b"input_json_delta", b"partial_json")
        out += (lead, _encode(text), _END)

    def _close(self, out: list[bytes]) -> None:
        """End the open block."""
        opened = self._open
        if opened is None:
            return
        if isinstance(opened, StreamedCall):
            if not opened.is_object:
                self._partial(bytes(input_of(opened.arguments)).decode(), out)
        elif opened == "thinking":
            lead = _DELTA % (self._index, b"signature_delta", b"signature")
            out += (lead, _encode(signature(self._id, self._index)), _END)
        out.append(_STOP % self._index)
        self._index += 1
        self._open = None
        self._theirs = None

    def _close_all(self, out: list[bytes]) -> None:
        """Say all that waits, whole or not, and end the last block."""
        for each in self._waiting:
            if isinstance(each, StreamedCall):
                self._begin_call(each, out)
            else:
                self._write(*each, out)
        self._waiting = []
        self._close(out)


def _adds_to(opened: Said, shape: Shape) -> bool:
    """Whether events of that shape add to the open block, and say nothing else."""
    again = shape.again + _PROBE if shape.again else b""
    lines = (shape.lead + _PROBE + again + shape.trail).splitlines()
    if not lines or not lines[0].startswith(b"data:") or any(lines[1:]):
        return False
    try:
        choices = decoded(lines[0]).choices
        delta = choices[0].delta if choices and len(choices) == 1 else None
        if not choices or delta is None or choices[0].finish_reason is not None:
            return False
        if delta.tool_calls or delta.function_call is not None or is_text(delta.refusal):
            return False
        thought, text = thought_of(delta), delta.content
        found, other = (thought, text) if opened == "thinking" else (text, thought)
        return bytes(found) == b'"x"' and not is_text(other)
    except EngineError:
        return False
