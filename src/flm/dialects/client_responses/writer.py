"""The stream of an answer as the events of the Responses API.

Every event has its number, so none can be passed on unseen; what stands around a piece of text
is made once for each item. The first event goes out with the first content: until then another
engine may still answer instead.
"""

from __future__ import annotations

import re

import msgspec

from flm.dialects.body import UNREADABLE
from flm.dialects.client_responses.blocks import Message, Thoughts
from flm.dialects.client_responses.calls import Calls, Piece
from flm.dialects.client_responses.events import Events
from flm.dialects.client_responses.output import INCOMPLETE, Envelope, Logprob, Status
from flm.dialects.codec import Shape, Usage
from flm.dialects.toolbox import Toolbox
from flm.errors import Refusal, StreamBroken

_encode = msgspec.json.Encoder().encode


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _CallDelta(msgspec.Struct):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Delta(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[_CallDelta] | None = None
    function_call: _Function | None = None


class _Logprobs(msgspec.Struct):
    content: list[Logprob] | None = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None
    index: int = 0


class _Chunk(msgspec.Struct):
    choices: list[_Choice] | None = None


_decode = msgspec.json.Decoder(_Chunk).decode
_NOTHING = _Function()
_SAID = re.compile(rb'"content":[ ]?"([^"\\]+)"')


def _is_plain(said: bytes) -> bool:
    """Whether these bytes are text as it may stand in JSON."""
    try:
        return said.decode().isprintable()
    except UnicodeDecodeError:
        return False


class ResponsesWriter:
    """A `StreamWriter` of the Responses API.

    ``summarised``: thoughts are said as a summary, because the client asked for one.
    """

    def __init__(self, envelope: Envelope, tools: Toolbox, summarised: bool) -> None:
        self._envelope = envelope
        self._summarised = summarised
        self._events = Events()
        self._calls = Calls(self._events, envelope, tools)
        self._begun = False
        self._thoughts: Thoughts | None = None
        self._message: Message | None = None
        self._reason: str | None = None
        self._before = b""
        self._after = b""
        """What stood around the text of the last event that said nothing else."""

    def feed(self, events: bytes) -> bytes:
        """See `StreamWriter.feed`. Raises `StreamBroken` for an event that cannot be read."""
        if self._before and self._same_again(events):
            return self._events.taken()
        self._before = b""
        for line in events.split(b"\n"):
            if line.startswith(b"data:"):
                try:
                    chunk = _decode(line[5:])
                except UNREADABLE as error:
                    broken = StreamBroken("The engine sent an event that cannot be read.")
                    broken.before = self._events.taken()
                    raise broken from error
                for choice in chunk.choices or ():
                    if choice.index == 0:
                        self._take(choice)
                        self._learn(events, choice)
        return self._events.taken()

    def _same_again(self, events: bytes) -> bool:
        """Take one event that is the last one again but for its text, without reading it.

        What is escaped, and what is no plain text, is read after all.
        """
        before, after = self._before, self._after
        said = events[len(before) : -len(after)]
        if (
            not said
            or b"\\" in said
            or b'"' in said
            or b"%b%b%b" % (before, said, after) != events
            or not _is_plain(said)
        ):
            return False
        message = self._message
        assert message is not None, "learned from it"
        message.go_on(said)
        return True

    def _learn(self, events: bytes, choice: _Choice) -> None:
        message, delta = self._message, choice.delta
        if message is None or not message.saying or choice.logprobs or choice.finish_reason:
            return
        if delta is None or msgspec.structs.replace(delta, content=None) != _Delta():
            return
        found = list(_SAID.finditer(events))
        if len(found) == 1 and events.count(b"\n") == 2 and events.endswith(b"\n\n"):
            self._before = events[: found[0].start(1)]
            self._after = events[found[0].end(1) :]

    def shape(self, shape: Shape) -> None:
        """See `StreamWriter.shape`: every event is numbered, so each is written."""
        del shape

    def end(self, usage: Usage | None) -> bytes:
        """See `StreamWriter.end`: what is open is closed, then `response.completed`, or
        `response.incomplete`, with the whole response as its last field.
        """
        reason = INCOMPLETE.get(self._reason or "")
        status: Status = "completed" if reason is None else "incomplete"
        if not self._begun:
            self._saying().say("")
        self._close(status)
        self._calls.close(status)
        items = self._events.items()
        self._whole(status, self._envelope.response(status, items, usage, reason=reason))
        return self._events.taken()

    def broken(self, refusal: Refusal) -> bytes:
        """What ends the stream when its answer cannot become whole: `error`, which SDKs raise,
        and `response.failed`, which Codex looks for.
        """
        self._begin()
        said = {"code": refusal.code, "message": refusal.message, "param": refusal.param}
        nested = _encode({"type": refusal.kind, **said})
        self._events.event("error", b'%b,"error":%b' % (_encode(said)[1:-1], nested))
        error = {"code": refusal.code, "message": refusal.message}
        items = self._events.items()
        self._whole("failed", self._envelope.response("failed", items, error=error))
        return self._events.taken()

    def _take(self, choice: _Choice) -> None:
        delta = choice.delta
        if delta is not None:
            thought = delta.reasoning_content or delta.reasoning
            if thought:
                self._thinking().say(thought)
            if delta.content:
                logprobs = choice.logprobs
                self._saying().say(delta.content, None if logprobs is None else logprobs.content)
            if delta.refusal:
                self._saying().refuse(delta.refusal)
            if delta.tool_calls or delta.function_call is not None:
                self._call(delta)
        if choice.finish_reason is not None:
            self._reason = choice.finish_reason

    def _call(self, delta: _Delta) -> None:
        self._close("completed")
        self._begin()
        for call in delta.tool_calls or ():
            said = call.function or _NOTHING
            self._calls.take(Piece(call.index, call.id, said.name, said.arguments))
        if delta.function_call is not None:
            said = delta.function_call
            self._calls.take(Piece(0, None, said.name, said.arguments))

    def _thinking(self) -> Thoughts:
        if self._thoughts is None:
            self._close("completed")
            self._begin()
            self._thoughts = Thoughts(self._events, self._envelope, self._summarised)
        return self._thoughts

    def _saying(self) -> Message:
        if self._message is None:
            self._close("completed")
            self._begin()
            self._message = Message(self._events, self._envelope)
        return self._message

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            whole = self._envelope.response("in_progress", [])
            self._whole("created", whole)
            self._whole("in_progress", whole)

    def _close(self, status: Status) -> None:
        for block in (self._thoughts, self._message):
            if block is not None:
                block.close(status)
        self._thoughts = self._message = None

    def _whole(self, what: str, response: bytes) -> None:
        self._events.event(f"response.{what}", b'"response":%b' % response)


_BEFORE = b',"response":'


def response_in(events: bytes) -> bytes:
    """The whole response in the last of the events that `ResponsesWriter.end` made."""
    _, _, data = events.rpartition(b"\ndata: ")
    return data.partition(_BEFORE)[2].rstrip()[:-1]


def with_response(events: bytes, response: bytes) -> bytes:
    """The same events with another response in the last of them."""
    before, line, data = events.rpartition(b"\ndata: ")
    return b"%b%b%b%b%b}\n\n" % (before, line, data.partition(_BEFORE)[0], _BEFORE, response)
