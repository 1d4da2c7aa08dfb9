"""Large bodies without the base64 in them, so that no step over one takes milliseconds.

A picture of 10 MB is one long string in a small body. To decode, judge, translate and encode it
is one pass of some milliseconds each, in which nobody else is served. So it is cut out before
anything is decoded: what is left, the outline, means the same to all who read it, with a mark
where each blob was. On its way to an engine the blobs stand in the marks' places again, as views
of the bytes the client sent.

Why nobody notices: a blob is letters of base64 and nothing else, so that a body is JSON with it
exactly if it is without it; the first letters of each stay, for who looks at what it is; a mark
is base64 too, as long as some bytes are, and in any JSON string inside any other it is spelled
the same. Marks are random for each request: no client can write one. Texts are never cut.
"""

from __future__ import annotations

import io
import re
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Final

import msgspec

from flm.dialects.body import UNREADABLE
from flm.gateway.running import others_first

if TYPE_CHECKING:
    from flm.gateway.desk import GatewayDesk
    from flm.gateway.exchange import Exchange

LEAST: Final = 64 << 10
"""Letters of a string that is worth cutting."""

KEPT: Final = 256
"""Letters that stay of each: four are three bytes, and no more than 64 are ever looked at."""

PIECE: Final = 512 << 10
"""Bytes that are looked at, or sent, at once: a fifth of a millisecond. Between two of them all
others go on, who may be many."""

NONCE: Final = 16

_LETTERS: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_="
_DATA_URL: Final = re.compile(
    rb"data:[a-z0-9.+/-]{0,100}(?:;[a-z0-9.+=/-]{1,60}){0,2};base64,", re.IGNORECASE
)
_LOOKED_BACK: Final = 64
_BEFORE: Final = re.compile(rb'(?:"(?:url|image_url|data|file_data)"[ \t\r\n]*:|[\[,])[ \t\r\n]*\Z')
"""Where media stand in all dialects: under these names, or in a list (Ollama's `images`)."""
_BEHIND: Final = re.compile(rb"[ \t\r\n]{0,64}[,\]}]")
_INDEX: Final = 8

SPOKEN: Final = frozenset({"messages", "input", "images"})
"""The fields whose content goes to the model and nowhere else: others, such as tools, are repeated
in some dialects' answers."""

_decode_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode

Piece = bytes | memoryview


class Blobs:
    """What was cut out of the bodies of one request. `nonce`: `NONCE` random bytes."""

    def __init__(self, nonce: bytes) -> None:
        self._lead = nonce.hex().encode()
        self._blobs: list[memoryview] = []

    def __len__(self) -> int:
        return len(self._blobs)

    def outlining(self, body: bytes) -> Generator[None, None, bytes]:
        """The outline of `body`, JSON of any sort: a step at a time, each well below a
        millisecond, and at last what it returns.
        """
        view = memoryview(body)
        out: list[Piece] = []
        done = 0
        for start, end in _unquoted(body):
            letters = _media_in(body, start, end)
            if letters < 0:
                continue
            yield
            if (yield from _proving(body, letters, end)):
                cut = letters + KEPT
                out += (view[done:cut], self._mark(view[cut:end]))
                done = end
        if not out:
            return body
        out.append(view[done:])
        return b"".join(out)

    def _mark(self, blob: memoryview) -> bytes:
        self._blobs.append(blob)
        return b"%b%0*x" % (self._lead, _INDEX, len(self._blobs) - 1)

    def are_marked_in(self, body: bytes) -> bool:
        """Whether there is a mark in `body`."""
        return body.find(self._lead) >= 0

    def pieces(self, body: bytes) -> list[Piece]:
        """`body` with the blobs in the places of their marks, no piece longer than `PIECE`."""
        return list(self._pieces(body))

    def _pieces(self, body: bytes) -> Iterator[Piece]:
        view = memoryview(body)
        lead, done = self._lead, 0
        while (at := body.find(lead, done)) >= 0:
            yield from sliced(view[done:at])
            done = at + len(lead) + _INDEX
            yield from sliced(self._blobs[int(body[at + len(lead) : done], 16)])
        yield from sliced(view[done:])

    def gathering(self, body: bytes) -> Generator[None, None, bytes]:
        """The same in one piece, which grows in small steps: memory that is new to the process
        costs more than the copy. Like `outlining`.
        """
        whole = io.BytesIO()
        for piece in self._pieces(body):
            whole.write(piece)
            yield
        return whole.getvalue()


async def outline_body(exchange: Exchange, desk: GatewayDesk) -> None:
    """Make the exchange's body an outline, and keep what was in it with the exchange.

    A body that is no JSON object, or has blobs where none belong, stays as it is: what is said of
    it then is true of what the client sent.
    """
    await others_first()  # the body was just put together
    outline = await outlined(exchange, desk, exchange.body)
    blobs = exchange.blobs
    if blobs is None:
        return
    if _are_spoken(blobs, outline):
        exchange.body = outline
    else:
        exchange.blobs = None


async def outlined(exchange: Exchange, desk: GatewayDesk, data: bytes) -> bytes:
    """`data`, JSON of which blobs go on to the model only, without them; others go on meanwhile."""
    blobs = exchange.blobs or Blobs(desk.random(NONCE))
    outline = await _in_steps(blobs.outlining(data))
    if len(blobs):
        exchange.blobs = blobs
    return outline


async def whole(exchange: Exchange, outline: bytes) -> bytes:
    """What `outlined` made an outline of, as it was; others go on meanwhile."""
    blobs = exchange.blobs
    return outline if blobs is None else await _in_steps(blobs.gathering(outline))


async def _in_steps(steps: Generator[None, None, bytes]) -> bytes:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            made: bytes = end.value
            return made
        await others_first()


def _are_spoken(blobs: Blobs, outline: bytes) -> bool:
    """Whether it is an object whose marks stand in `SPOKEN` fields only."""
    try:
        fields = _decode_fields(outline)
    except UNREADABLE:
        return False
    return not any(
        name not in SPOKEN and blobs.are_marked_in(bytes(raw)) for name, raw in fields.items()
    )


def sliced(view: memoryview) -> Iterator[memoryview]:
    """`view` in pieces of at most `PIECE` bytes."""
    for at in range(0, len(view), PIECE):
        yield view[at : at + PIECE]


def _unquoted(body: bytes) -> Iterator[tuple[int, int]]:
    """Where at least `LEAST` bytes without a double quote stand between two of them.

    Each holds a multiple of `LEAST`: only there is looked.
    """
    probe, done = LEAST, 0
    while probe < len(body):
        end = body.find(b'"', probe)
        if end < 0:
            return
        start = body.rfind(b'"', done, probe) + 1
        if start and end - start >= LEAST:
            yield start, end
        done = end
        probe = (end // LEAST + 1) * LEAST


def _media_in(body: bytes, start: int, end: int) -> int:
    """Where base64 should begin in the string from `start` to `end`; -1 when it is no medium.

    A quote behind a backslash opens no string; behind a string's end there are no letters.
    """
    before = body[max(0, start - 1 - _LOOKED_BACK) : start - 1]
    if _BEFORE.search(before) is None or _BEHIND.match(body, end + 1) is None:
        return -1
    url = _DATA_URL.match(body, start, end)
    return start if url is None else url.end()


def _proving(body: bytes, start: int, end: int) -> Generator[None, None, bool]:
    """Whether there is nothing but letters of base64, a piece a step."""
    for at in range(start, end, PIECE):
        if body[at : min(at + PIECE, end)].translate(None, _LETTERS):
            return False
        yield
    return True
