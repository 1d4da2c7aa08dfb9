"""Request bodies: how deep they go, and their fields one level deep."""

from __future__ import annotations

import codecs
import re
from typing import Final

import msgspec

from flm.errors import Refusal

MAX_DEPTH: Final = 64
MAX_FIELDS: Final = 200

_decode_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_utf8_decoder = codecs.getincrementaldecoder("utf-8")
_PIECE: Final = 1 << 20
_MANY: Final = 64 << 10

UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are not the JSON they should be."""

_AS_SQUARE: Final = bytes.maketrans(b"{}", b"[]")
_NO_BRACKET: Final = bytes(code for code in range(256) if code not in b'"[]{}')
_STRING: Final = re.compile(rb'"[^"]*"')


def invalid_json(why: str) -> Refusal:
    """The refusal of a body that is no JSON object: 400 `invalid_json`."""
    return Refusal(400, "invalid_json", f"The request body is not a JSON object: {why}.")


def decode_object(body: bytes) -> dict[str, msgspec.Raw]:
    """The fields of the JSON object in `body`, their values untouched; of a duplicate the last.

    The values share the memory of `body`. Raises `Refusal` 400 `invalid_json` when `body` is
    empty, is no UTF-8 or no JSON, holds something else than an object, nests deeper than 64
    levels or has more than 200 fields.
    """
    if not body:
        raise invalid_json("it is empty")
    check_depth(body)
    # msgspec checks the UTF-8 of what it decodes, not of what it leaves raw.
    if not body.isascii():
        _check_utf8(body)
    try:
        fields = _decode_fields(body)
    except msgspec.ValidationError as error:
        raise invalid_json("its outermost value is something else") from error
    except UNREADABLE as error:
        raise invalid_json(str(error)) from error
    if len(fields) > MAX_FIELDS:
        raise invalid_json(f"it has more than {MAX_FIELDS} fields")
    return fields


def check_depth(body: bytes, limit: int = MAX_DEPTH) -> None:
    """Raise `Refusal` 400 `invalid_json` when `body` nests deeper than `limit` levels.

    Linear and without recursion; every step is one of the interpreter's own byte loops: 32 MB
    take about 0.1 s, a chat of a few kB less than a microsecond. A body that is no JSON may pass
    or be refused: the decoder looks at it next.
    """
    if len(body) > _MANY and _has_few(body, limit):
        return
    # `replace` finds single bytes many at a time, `count` one after the other (half a microsecond
    # more for a chat of 1 kB); it needs to find one more than there may be.
    squares = len(body) - len(body.replace(b"[", b"", limit + 1))
    if squares + len(body) - len(body.replace(b"{", b"", limit + 1)) <= limit:
        return
    # Escapes go in pairs, so a quote that is still there opens or closes a string.
    outline = body.replace(b"\\\\", b"").replace(b'\\"', b"").translate(_AS_SQUARE, _NO_BRACKET)
    # Two quotes side by side never change whether what follows is inside a string.
    outline = outline.replace(b'""', b"")
    if b'"' in outline:
        outline = _STRING.sub(b"", outline)
    # Each pass takes away the innermost level of every branch.
    for level in range(limit):
        if len(outline) <= 2 * (limit - level):
            return
        outline = outline.replace(b"[]", b"")
    if outline:
        raise invalid_json(f"it nests deeper than {limit} levels")


def _has_few(body: bytes, limit: int) -> bool:
    """Whether there are no more than `limit` opening brackets. Of a large body no copy is made."""
    found = 0
    for bracket in (b"[", b"{"):
        place = body.find(bracket)
        while place >= 0:
            found += 1
            if found > limit:
                return False
            place = body.find(bracket, place + 1)
    return True


def first_byte(raw: msgspec.Raw) -> bytes:
    """The first byte of a value, which tells its type; nothing is copied."""
    return bytes(memoryview(raw)[:1])


def _check_utf8(body: bytes) -> None:
    # In pieces, so that no second copy of a large body is made.
    decoder = _utf8_decoder()
    view = memoryview(body)
    try:
        for start in range(0, len(view), _PIECE):
            decoder.decode(view[start : start + _PIECE])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise invalid_json("it is not UTF-8") from error
