"""Tool calls that are being written, several at once.

They stay open until the answer ends: the pieces of two may come in turn. What the tool is decides
how its call is told, so a call begins when its name is known.
"""

from __future__ import annotations

import msgspec

from flm.dialects.client_responses.events import Events, escaped, sides
from flm.dialects.client_responses.output import (
    LEADS,
    Envelope,
    Status,
    call_item,
    final_arguments,
)
from flm.dialects.toolbox import Source, Toolbox

_encode = msgspec.json.Encoder().encode


class Piece(msgspec.Struct, frozen=True):
    """What one chunk says of a call. Without ``index`` it is told by its id, or is the last."""

    index: int | None
    id: str | None
    name: str | None
    arguments: str | None


class Calls:
    """The calls of one answer, in the order in which they began."""

    def __init__(self, events: Events, envelope: Envelope, tools: Toolbox) -> None:
        self._events = events
        self._envelope = envelope
        self._tools = tools
        self._calls: dict[object, _Call] = {}

    def take(self, piece: Piece) -> None:
        """One more piece of a call."""
        key: object = piece.index
        if key is None:
            last = next(reversed(self._calls), None)
            key = piece.id or (len(self._calls) if last is None or piece.name else last)
        call = self._calls.get(key)
        if call is None:
            call = self._calls[key] = _Call(self._events, self._envelope, self._tools)
        call.take(piece)

    def close(self, status: Status) -> None:
        """Say that all of them are whole."""
        for call in self._calls.values():
            call.close(status)


class _Call:
    def __init__(self, events: Events, envelope: Envelope, tools: Toolbox) -> None:
        self._events = events
        self._envelope = envelope
        self._tools = tools
        self._call_id: str | None = None
        self._name = ""
        self._said: list[str] = []
        self._place = 0
        self._id = ""
        self._source: Source | None = None
        self._sides = (b"", b"")
        self._where = b""

    def take(self, piece: Piece) -> None:
        self._call_id = self._call_id or piece.id
        if self._source is None and piece.name:
            self._name = piece.name
            self._begin()
        if piece.arguments:
            self._said.append(piece.arguments)
            self._pass_on(piece.arguments)

    def _begin(self) -> Source:
        self._source = source = self._tools.source(self._name)
        self._place = place = self._events.open_item()
        self._id = self._envelope.item_id(LEADS[source.kind], place)
        self._call_id = self._call_id or self._envelope.call_id(place)
        self._where = b'"item_id":"%b","output_index":%d' % (self._id.encode(), place)
        self._sides = sides("response.function_call_arguments.delta", self._where)
        self._events.added(place, self._item("", "in_progress", source))
        for said in self._said:  # what came before the name
            self._pass_on(said)
        return source

    def _pass_on(self, arguments: str) -> None:
        # A custom tool's text is known when its JSON is whole.
        if self._source is not None and self._source.kind == "function":
            self._events.piece(self._sides, escaped(arguments))

    def _item(self, arguments: str, status: Status, source: Source) -> dict[str, object]:
        return call_item(self._id, self._call_id or "", source, arguments, status)

    def close(self, status: Status) -> None:
        source = self._source or self._begin()
        raw = "".join(self._said)
        said = final_arguments(source, raw)
        encoded = _encode(said)
        if source.kind == "custom":
            if said:
                both = sides("response.custom_tool_call_input.delta", self._where)
                self._events.piece(both, encoded[1:-1])
            self._events.event(
                "response.custom_tool_call_input.done", b'%b,"input":%b' % (self._where, encoded)
            )
        elif source.kind == "function":
            if not raw:
                self._events.piece(self._sides, encoded[1:-1])
            self._events.event(
                "response.function_call_arguments.done",
                b'%b,"name":%b,"arguments":%b' % (self._where, _encode(source.name), encoded),
            )
        self._events.close_item(self._place, self._item(said, status, source))
