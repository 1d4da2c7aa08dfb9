"""Tool calls of OpenAI's stream, put together from their pieces."""

from __future__ import annotations

import msgspec

from flm.dialects.body import UNREADABLE
from flm.dialects.client_anthropic.answer import CalledFunction, arguments_of

_decode_value = msgspec.json.Decoder().decode


class CallDelta(msgspec.Struct, gc=False):
    """A piece of a tool call."""

    function: CalledFunction | None = None
    index: int | None = None
    id: str | None = None


class StreamedCall:
    """One tool call so far. ``is_object``: whether its arguments begin as an object does, None
    as long as they have not begun.
    """

    __slots__ = ("_pieces", "_sent", "id", "is_object", "name")

    def __init__(self) -> None:
        self.id: str | None = None
        self.name = ""
        self.is_object: bool | None = None
        self._pieces: list[str] = []
        self._sent = 0

    def add(self, delta: CallDelta) -> None:
        """Take one more piece. Raises `EngineError` when its arguments are no text."""
        self.id = self.id or delta.id
        function = delta.function
        if function is None:
            return
        self.name = self.name or function.name or ""
        text = arguments_of(function.arguments)
        if not text:
            return
        self._pieces.append(text)
        if self.is_object is None:
            start = text.lstrip()
            self.is_object = start.startswith("{") if start else None

    @property
    def arguments(self) -> str:
        """All that was said of them."""
        return "".join(self._pieces)

    def unsent(self) -> str:
        """What of the arguments was not given out yet."""
        text = "".join(self._pieces[self._sent :])
        self._sent = len(self._pieces)
        return text

    @property
    def whole(self) -> bool:
        """Whether the arguments are an object with nothing missing."""
        if not self._pieces or self._pieces[-1].rstrip()[-1:] not in ("}", ""):
            return False  # cheaply told, as for nearly every piece
        text = self.arguments
        try:
            return isinstance(_decode_value(text), dict)
        except (*UNREADABLE, UnicodeEncodeError):
            return False


class StreamedCalls:
    """All tool calls of one answer, found by index, by id, or by being the last."""

    __slots__ = ("_by_index",)

    def __init__(self) -> None:
        self._by_index: dict[int, StreamedCall] = {}

    def __bool__(self) -> bool:
        return bool(self._by_index)

    def find(self, delta: CallDelta, place: int) -> tuple[StreamedCall, bool]:
        """The call that `delta`, the one at `place` of its chunk, belongs to; whether it is new.

        Engines that give no index give a new id for a new call, or none at all. Those that begin
        a new call under an old index give it a new id.
        """
        known, index = self._by_index, delta.index
        if index is None:
            index = self._guessed(delta, place)
        call = known.get(index)
        if call is not None and not (delta.id and call.id and delta.id != call.id):
            return call, False
        call = known[index] = StreamedCall()
        return call, True

    def _guessed(self, delta: CallDelta, place: int) -> int:
        known = self._by_index
        if delta.id:
            same = (index for index, call in known.items() if call.id == delta.id)
            return next(same, len(known))
        return max(len(known) - 1, place)
