"""The events of one stream: numbered, in order, with the items they tell of."""

from __future__ import annotations

from typing import Any

import msgspec

_encode = msgspec.json.Encoder().encode


class Events:
    """What is to be sent, and what has been said so far.

    ``output`` holds the items by their place, None while they are open.
    """

    def __init__(self) -> None:
        self._out: list[bytes] = []
        self._number = 0
        self.output: list[bytes | None] = []

    def event(self, name: str, fields: bytes) -> None:
        """One event; `fields` is the inside of a JSON object without type and number."""
        lead = name.encode()
        self._out.append(
            b'event: %b\ndata: {"type":"%b","sequence_number":%d,%b}\n\n'
            % (lead, lead, self._number, fields)
        )
        self._number += 1

    def piece(self, sides: tuple[bytes, bytes], escaped: bytes) -> None:
        """One more piece of text, the inside of a JSON string, between the `sides` of its event."""
        self._out.append(b'%b%d%b%b"}\n\n' % (sides[0], self._number, sides[1], escaped))
        self._number += 1

    def open_item(self) -> int:
        """The place of an item that begins now."""
        self.output.append(None)
        return len(self.output) - 1

    def added(self, place: int, item: dict[str, Any]) -> None:
        """The item at `place` is there, with nothing in it yet."""
        self.event(
            "response.output_item.added", b'"output_index":%d,"item":%b' % (place, _encode(item))
        )

    def close_item(self, place: int, item: dict[str, Any]) -> None:
        """The item at `place` is whole."""
        encoded = _encode(item)
        self.output[place] = encoded
        self.event("response.output_item.done", b'"output_index":%d,"item":%b' % (place, encoded))

    def items(self) -> list[bytes]:
        """The items that are whole."""
        return [item for item in self.output if item is not None]

    def taken(self) -> bytes:
        """What is to be sent now; it is forgotten here."""
        out, self._out = self._out, []
        return out[0] if len(out) == 1 else b"".join(out)


def sides(name: str, where: bytes) -> tuple[bytes, bytes]:
    """What stands before the number of a delta's event, and between that and its text."""
    lead = b'event: %b\ndata: {"type":"%b","sequence_number":' % (name.encode(), name.encode())
    return lead, b',%b,"delta":"' % where


def escaped(text: str) -> bytes:
    """The inside of a JSON string."""
    return _encode(text)[1:-1]


def quoted(pieces: list[bytes]) -> msgspec.Raw:
    """A JSON string made of insides."""
    return msgspec.Raw(b'"%b"' % b"".join(pieces))
