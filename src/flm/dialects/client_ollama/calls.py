"""Tool calls that come in pieces, gathered until they are whole."""

from __future__ import annotations

import msgspec

from flm.dialects.client_ollama.written import ToolCall, arguments_object
from flm.errors import StreamBroken

Raw = msgspec.Raw
MAX_CALLS = 256
MAX_BYTES = 8 << 20
_decode_text = msgspec.json.Decoder(str).decode


class FunctionPiece(msgspec.Struct):
    """A piece of a call's function. ``arguments`` are text; some engines send an object."""

    name: str | None = None
    arguments: Raw = Raw(b"")


class CallPiece(msgspec.Struct):
    """A piece of a tool call as OpenAI streams it, or all of one."""

    index: int | None = None
    id: str | None = None
    function: FunctionPiece | None = None


class _Growing(msgspec.Struct):
    index: int | None
    id: str
    name: str
    pieces: list[str]


class GatheredCalls:
    """The calls of one answer. Not more than 256, and 8 MB of arguments."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._calls: list[_Growing] = []
        self._size = 0

    def add(self, pieces: list[CallPiece]) -> None:
        """Take pieces in the order they came. Raises `StreamBroken` beyond the bounds."""
        for piece in pieces:
            function = piece.function or FunctionPiece()
            call = self._call(piece, function)
            call.id = call.id or piece.id or ""
            call.name = call.name or function.name or ""
            text = _text(function.arguments)
            self._size += len(text)
            if self._size > MAX_BYTES or len(self._calls) > MAX_CALLS:
                raise StreamBroken("The engine's tool calls are too large.", code="event_too_large")
            if text:
                call.pieces.append(text)

    def _call(self, piece: CallPiece, function: FunctionPiece) -> _Growing:
        """The call that goes on, or a new one.

        Engines that count wrongly give every call the index 0, or none: another id with a name
        is another call.
        """
        for call in reversed(self._calls):
            if piece.index is None or call.index == piece.index:
                other = piece.id and call.id and piece.id != call.id and function.name
                if not other:
                    return call
                break
        fresh = _Growing(piece.index, "", "", [])
        self._calls.append(fresh)
        return fresh

    def take(self) -> list[ToolCall]:
        """All calls as whole ones, and none are left. One without an id gets one."""
        calls = [
            ToolCall(
                call.id or f"call_{self._seed}_{number}",
                call.name,
                arguments_object("".join(call.pieces)),
            )
            for number, call in enumerate(self._calls)
        ]
        self._calls.clear()
        return calls


def _text(arguments: Raw) -> str:
    said = bytes(arguments)
    if said in (b"", b"null"):
        return ""
    return _decode_text(said) if said.startswith(b'"') else said.decode("utf-8", "replace")
