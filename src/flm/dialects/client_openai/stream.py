"""A stream of chat events, with calls of custom tools as the client knows them.

Events go on as they came unless they tell of a call, or of usage that nobody asked for. A custom
tool's call is told as it begins, so that calls keep their order; its text when it is whole,
because until then it is the inside of JSON.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from flm.dialects.body import UNREADABLE
from flm.dialects.client_openai.calls import Call, Piece
from flm.dialects.codec import Shape, Usage
from flm.dialects.engine_openai.usage import usage_in, usage_is_null, usage_object
from flm.dialects.sse import END_OF_EVENT, payload
from flm.dialects.toolbox import Toolbox

Raw = msgspec.Raw
Fields = dict[str, Raw]
END_MARK = b"data: [DONE]\n\n"

_REASON = re.compile(rb'"finish_reason"\s*:\s*"[^"]')
_ABSENT = (b"", b"null", b'""', b"[]")
_encode = msgspec.json.Encoder().encode
_decode_fields = msgspec.json.Decoder(Fields).decode
_decode_choices = msgspec.json.Decoder(list[Fields]).decode
_decode_calls = msgspec.json.Decoder(list[Raw]).decode
_decode_piece = msgspec.json.Decoder(Piece).decode
_decode_number = msgspec.json.Decoder(int).decode


class CustomCallsWriter:
    """A `StreamWriter` of OpenAI's own dialect. `include_usage`: the client asked for it; `seed`
    is in the ids of calls to which the engine gave none.
    """

    def __init__(self, model: str, tools: Toolbox, include_usage: bool, seed: str) -> None:
        self._model = model
        self._tools = tools
        self._include_usage = include_usage
        self._seed = seed
        self._counted = False
        self._calls: dict[int, dict[object, Call]] = {}
        self._waiting = False
        """Whether something is to be told of a call before its choice ends."""
        self._frame: Fields = {}

    def feed(self, events: bytes) -> bytes:
        """See `StreamWriter.feed`."""
        if self._is_plain(events):
            return events
        out: list[bytes] = []
        start = 0
        for found in END_OF_EVENT.finditer(events):
            event = events[start : found.end()]
            start = found.end()
            out.append(event if self._is_plain(event) else self._event(event))
        out.append(events[start:])
        return b"".join(out)

    def end(self, usage: Usage | None) -> bytes:
        """See `StreamWriter.end`."""
        out = [self._close(choice) for choice in self._calls]
        if self._include_usage and not self._counted and usage is not None:
            said = {**self._about(), "choices": [], "usage": usage_object(usage)}
            out.append(b"data: %b\n\n" % _encode(said))
        out.append(END_MARK)
        return b"".join(out)

    def shape(self, shape: Shape) -> Shape | None:
        """See `StreamWriter.shape`: what need not be read here goes on as it is."""
        return shape if self._is_plain(shape.lead + shape.trail) else None

    def _is_plain(self, events: bytes) -> bool:
        """Whether they say nothing that is to be told in other words."""
        return (
            bool(self._frame)
            and events.find(b'"tool_calls"') < 0
            and (events.find(b'"usage"') < 0 or usage_is_null(events))
            and not (self._waiting and _REASON.search(events))
        )

    def _event(self, event: bytes) -> bytes:
        try:
            fields = _decode_fields(payload(event))
            choices = _decode_choices(fields.get("choices", b"[]"))
            return self._read(event, fields, choices)
        except UNREADABLE:
            return event  # a comment, or nothing that is FLM's to judge

    def _read(self, event: bytes, fields: Fields, choices: list[Fields]) -> bytes:
        if not self._frame:
            self._frame = {name: raw for name, raw in fields.items() if name not in _ITS_OWN}
        counts = usage_in(fields.get("usage")) is not None
        if counts:
            self._counted = True
            if not choices and not self._include_usage:
                return b""
        before: list[bytes] = []
        changed = False
        for choice in choices:
            number = _decode_number(choice.get("index", b"0"))
            last = bytes(choice.get("finish_reason", b"")) not in _ABSENT
            changed |= self._delta(number, choice, last)
            if last:
                before.append(self._close(number))
        if changed:
            choices = [choice for choice in choices if _says_something(choice)]
            fields["choices"] = Raw(_encode(choices))
            event = b"data: %b\n\n" % _encode(fields) if choices or counts else b""
        return b"".join((*before, event))

    def _delta(self, number: int, choice: Fields, last: bool) -> bool:
        """Put the calls of one choice's delta in the client's words; whether any was in others."""
        delta = _decode_fields(choice.get("delta", b"{}"))
        raw = delta.get("tool_calls", b"null")
        if bytes(raw) in _ABSENT:
            return False
        given = _decode_calls(raw)
        told: list[Raw | Call] = []
        for each in given:
            self._take(number, each, told)
        # Not before all pieces were seen: there may be several of one call.
        said = [
            each.opening(f"call_{self._seed}_{number}_{each.place}", last)
            if isinstance(each, Call)
            else each
            for each in told
        ]
        self._waiting = self._waits()
        if said == given:
            return False
        if said:
            delta["tool_calls"] = Raw(_encode(said))
        else:
            del delta["tool_calls"]
        choice["delta"] = Raw(_encode(delta))
        return True

    def _take(self, number: int, raw: Raw, told: list[Raw | Call]) -> None:
        """One piece of a call; `told`: what is told, a call of which it is told that it begins."""
        piece = _decode_piece(raw)
        call = self._call(self._calls.setdefault(number, {}), piece, told)
        if call.source is not None and not call.custom:
            told.append(raw)
            return
        began = call.custom
        call.take(piece, self._tools)
        if call.custom:
            if not began:
                call.held.clear()
                told.append(call)
        elif call.source is None:
            call.held.append(raw)
        else:
            told += [*call.held, raw]
            call.held.clear()

    def _call(self, calls: dict[object, Call], piece: Piece, told: list[Raw | Call]) -> Call:
        """Whose piece it is. Where a call begins, others may be known to be whole."""
        key: object = piece.index
        if key is None:
            last = next(reversed(calls), None)
            named = piece.function is not None and piece.function.name
            key = piece.id or (len(calls) if last is None or named else last)
        call = calls.get(key)
        if call is None:
            told += [each.closing() for each in calls.values() if each.due and each.whole]
            call = calls[key] = Call(len(calls) if piece.index is None else piece.index)
        return call

    def _close(self, number: int) -> bytes:
        """The texts of all custom tools that one choice called and that were not told yet."""
        said: list[Raw] = []
        for call in self._calls.get(number, {}).values():
            said += call.held
            call.held.clear()
            if call.due:
                said.append(call.closing())
        self._waiting = self._waits()
        if not said:
            return b""
        choice = {"index": number, "delta": {"tool_calls": said}, "finish_reason": None}
        return b"data: %b\n\n" % _encode({**self._about(), "choices": [choice]})

    def _waits(self) -> bool:
        return any(
            call.due or call.held for calls in self._calls.values() for call in calls.values()
        )

    def _about(self) -> dict[str, Any]:
        return {"object": "chat.completion.chunk", **self._frame, "model": self._model}


_ITS_OWN = frozenset({"choices", "usage", "timings"})


def _says_something(choice: Fields) -> bool:
    """Whether anything is left of a choice whose calls were taken out."""
    delta = _decode_fields(choice.get("delta", b"{}"))
    return any(bytes(raw) not in _ABSENT for raw in delta.values()) or any(
        bytes(raw) not in _ABSENT for name, raw in choice.items() if name not in ("index", "delta")
    )
