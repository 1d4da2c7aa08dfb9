"""OpenAI's stream of chat events as Ollama's lines."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from flm.dialects.body import UNREADABLE
from flm.dialects.client_ollama.answer import Logprobs, logprobs_of
from flm.dialects.client_ollama.calls import CallPiece, GatheredCalls
from flm.dialects.client_ollama.written import (
    EMPTY,
    NO_RAW,
    Form,
    body_of,
    closing,
    done_reason,
    durations,
    head_of,
    text_of,
)
from flm.dialects.codec import Shape, Usage
from flm.dialects.conversation import Stamp
from flm.dialects.engine_errors import bad_answer
from flm.dialects.sse import END_OF_EVENT, payload
from flm.errors import EngineError

Raw = msgspec.Raw
_NOT_DONE = b',"done":false'
_GOES_ON = _NOT_DONE + b"}\n"
_NO_THOUGHT = (b"", b"null", EMPTY)
_PROBE = b'"the text of an event, which no engine says like this: \xe2\x98\x83 7f1c"'


class _Delta(msgspec.Struct, gc=False):
    content: Raw = NO_RAW
    reasoning_content: Raw = NO_RAW
    reasoning: Raw = NO_RAW
    refusal: Raw = NO_RAW
    tool_calls: list[CallPiece] | None = None


class _Choice(msgspec.Struct, gc=False):
    delta: _Delta | None = None
    text: Raw = NO_RAW
    finish_reason: str | None = None
    logprobs: Logprobs | None = None

    @property
    def said(self) -> _Delta | None:
        """The delta of a chat, or a completion's text as one."""
        if self.delta is None and bytes(self.text):
            return _Delta(self.text)
        return self.delta


class _Event(msgspec.Struct, gc=False):
    choices: list[_Choice] | None = None
    timings: Raw = NO_RAW


_decode = msgspec.json.Decoder(_Event).decode


class LineWriter:
    """A `StreamWriter` of Ollama's lines. `now` gives UTC seconds.

    All lines but the last say the time of the request: no client reads anything from it, and
    what stands around the text is made once. Text is not decoded: a string of JSON is the same on
    both sides. Tool calls are gathered, and written when they are whole.
    """

    def __init__(self, form: Form, model: str, stamp: Stamp, now: Callable[[], float]) -> None:
        self._form = form
        self._model = model
        self._stamp = stamp
        self._now = now
        self._calls = GatheredCalls(stamp.id)
        self._called = False
        self._first: float | None = None
        self._finish: str | None = None
        self._timings = NO_RAW
        self._theirs: Shape | None = None
        self._ours: Shape | None = None
        self._head = head_of(model, stamp.time)
        self._lead = self._head + form.lead
        self._trail = form.trail + _GOES_ON
        self._thought_lead = self._lead + EMPTY + b',"thinking":'

    def feed(self, events: bytes) -> bytes:
        """See `StreamWriter.feed`. Raises `EngineError` for an event that cannot be read."""
        out: list[bytes] = []
        try:
            for event in _split(events):
                if event.startswith(b"data: ") and event.find(b"\n") < 0:
                    self._event(event[6:], out)
                elif event:
                    data = payload(event)
                    if data:
                        self._event(data, out)
        except EngineError as error:
            error.before = b"".join(out)
            raise
        return b"".join(out)

    def end(self, usage: Usage | None) -> bytes:
        """See `StreamWriter.end`: the line with `done: true`."""
        now = self._now()
        start = self._stamp.time
        out: list[bytes] = []
        self._write_calls(out)
        first = None if self._first is None else self._first - start
        times = durations(now - start, first, self._timings)
        out += (
            head_of(self._model, now),
            body_of(self._form, EMPTY),
            closing(done_reason(self._finish), times, usage),
            b"}\n",
        )
        return b"".join(out)

    def shape(self, shape: Shape) -> Shape | None:
        """See `StreamWriter.shape`: events whose only word is text, or a thought."""
        if shape is not self._theirs:
            self._theirs, self._ours = shape, self._shape(shape)
        return self._ours

    def _shape(self, shape: Shape) -> Shape | None:
        probe = _PROBE[1:-1]
        twice = shape.again + probe if shape.again else b""
        event = b"".join((shape.lead, probe, twice, shape.trail))
        if not event.startswith(b"data: ") or not END_OF_EVENT.search(event):
            return None
        try:
            read = _decode(payload(event))
        except UNREADABLE:
            return None
        if not read.choices or bytes(read.timings):
            return None
        choice = read.choices[0]
        delta = choice.said
        if delta is None or choice.finish_reason or logprobs_of(choice.logprobs):
            return None
        if delta.tool_calls or text_of(delta.refusal) != EMPTY:
            return None
        text = text_of(delta.content)
        thoughts = {text_of(delta.reasoning_content), text_of(delta.reasoning)} - {EMPTY}
        if text == _PROBE and not thoughts and not twice:
            lead = self._lead
        elif text == EMPTY and thoughts == {_PROBE}:
            lead = self._thought_lead
        else:
            return None
        # What is between the two stands inside the quotes.
        return Shape(shape.before, shape.after, lead + b'"', b'"' + self._trail)

    def _event(self, payload: bytes, out: list[bytes]) -> None:
        try:
            read = _decode(payload)
        except UNREADABLE as error:
            raise bad_answer("an event of its stream is not what OpenAI's API says") from error
        if bytes(read.timings):
            self._timings = read.timings.copy()
        if not read.choices:
            return
        choice = read.choices[0]
        said = choice.said
        if said is not None:
            self._delta(said, choice.logprobs, out)
        if choice.finish_reason:
            self._finish = choice.finish_reason
            self._write_calls(out)

    def _delta(self, delta: _Delta, logprobs: Logprobs | None, out: list[bytes]) -> None:
        text = bytes(delta.content)
        plain = text.startswith(b'"') and text != EMPTY
        if (
            plain
            and bytes(delta.reasoning_content) in _NO_THOUGHT
            and bytes(delta.reasoning) in _NO_THOUGHT
            and logprobs is None
            and delta.tool_calls is None
        ):  # nearly every event
            if self._first is None:
                self._first = self._now()
            out.append(b"".join((self._lead, text, self._trail)))
            return
        text = text_of(delta.content, delta.refusal)
        thinking = text_of(delta.reasoning_content, delta.reasoning)
        chances = logprobs_of(logprobs)
        if delta.tool_calls:
            self._calls.add(delta.tool_calls)
            self._called = True
        if self._first is None and (text != EMPTY or thinking != EMPTY or delta.tool_calls):
            self._first = self._now()
        if text != EMPTY or thinking != EMPTY or chances:
            said = body_of(self._form, text, b"" if thinking == EMPTY else thinking)
            out.append(b"".join((self._head, said, _NOT_DONE, chances, b"}\n")))

    def _write_calls(self, out: list[bytes]) -> None:
        if self._called:
            self._called = False
            said = body_of(self._form, EMPTY, b"", self._calls.take())
            out.append(b"".join((self._head, said, _GOES_ON)))


def _split(events: bytes) -> list[bytes]:
    """The events, without the blank lines between them."""
    if events.find(b"\n") == len(events) - 2 and events.endswith(b"\n\n"):
        return [events[:-2]]  # nearly always
    return END_OF_EVENT.split(events)
