"""Calls of custom tools, told as what they are: text in the place of a function's arguments."""

from __future__ import annotations

import msgspec

from flm.dialects.body import UNREADABLE, first_byte
from flm.dialects.toolbox import Source, Toolbox, custom_input

Raw = msgspec.Raw
NO_RAW = Raw()
_encode = msgspec.json.Encoder().encode
_decode_text = msgspec.json.Decoder(str).decode
_check = msgspec.json.Decoder(dict[str, Raw]).decode


class Function(msgspec.Struct):
    """What a call, or a piece of it, says. Most engines write ``arguments`` as a string."""

    name: str | None = None
    arguments: Raw = NO_RAW

    @property
    def said(self) -> str:
        """The arguments, or the piece of them."""
        if first_byte(self.arguments) == b'"':
            return _decode_text(self.arguments)
        return "" if bytes(self.arguments) in (b"", b"null") else bytes(self.arguments).decode()


class Piece(msgspec.Struct):
    """A call, or what one chunk says of it. Without ``index`` it is told by its id, or is the
    last one.
    """

    index: int | None = None
    id: str | None = None
    function: Function | None = None


class Call:
    """One call of a choice, as its pieces come.

    ``source`` is None until its name is known; until then its pieces are ``held``. ``due``: it was
    told of, but not what its text is.
    """

    def __init__(self, place: int) -> None:
        self.place = place
        self.source: Source | None = None
        self.held: list[Raw] = []
        self.due = False
        self._id: str | None = None
        self._pieces: list[str] = []

    @property
    def custom(self) -> bool:
        """Whether it is a custom tool's."""
        return self.source is not None and self.source.kind == "custom"

    @property
    def whole(self) -> bool:
        """Whether nothing can follow: its arguments are an object that is closed."""
        try:
            _check("".join(self._pieces))
        except UNREADABLE:
            return False
        return True

    def take(self, piece: Piece, tools: Toolbox) -> None:
        """One more piece."""
        self._id = self._id or piece.id
        if piece.function is not None:
            if self.source is None and piece.function.name:
                self.source = tools.source(piece.function.name)
            self._pieces.append(piece.function.said)

    def opening(self, fallback: str, last: bool) -> Raw:
        """What tells that it begins, with its text where that is whole, or nothing comes after.

        `fallback`: its id where the engine gave none.
        """
        assert self.source is not None, "its name is known"
        self.due = not (last or self.whole)
        text = "" if self.due else custom_input("".join(self._pieces))
        custom = {"name": self.source.name, "input": text}
        said = {"index": self.place, "id": self._id or fallback, "type": "custom", "custom": custom}
        return Raw(_encode(said))

    def closing(self) -> Raw:
        """All of its text."""
        self.due = False
        text = custom_input("".join(self._pieces))
        return Raw(_encode({"index": self.place, "custom": {"input": text}}))


def whole_call(piece: Piece, source: Source, fallback: str) -> Raw:
    """A call of a whole answer."""
    said = "" if piece.function is None else piece.function.said
    custom = {"name": source.name, "input": custom_input(said)}
    return Raw(_encode({"id": piece.id or fallback, "type": "custom", "custom": custom}))
