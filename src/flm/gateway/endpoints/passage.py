"""Chunks that need no look into them: they go to the client as they came, frame and all.

Nearly all events of a stream are the last one again but for a word. What was read once, byte for
byte the same, means the same again; and the engine's frame around it (`HEX CRLF DATA CRLF`) is
the one the client would get. Measured: with the parser, the search and the new frame, a chunk
costs three times as much.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from flm.dialects.codec import Shape

LONGEST: Final = 1024
"""Bytes of the longest chunk that is passed on so; a longer one holds more than a word."""

MANY: Final = 8
"""So many shapes in a row that fitted nothing, and this stream is taken for one of the others."""

_QUOTE, _LINE_FEED = b'"\n'


_SIZE_LINES: Final = {len(line := b"%x\r\n" % size) + size + 2: line for size in range(1, LONGEST)}
"""By the length of a whole chunk, frame included, how it begins. No length is that of two."""


class Passage:
    """Compares chunks with the shape learned last. ``count``: how many went through."""

    __slots__ = (
        "_after", "_again", "_before", "_behind", "_lead", "_learned_at", "_send", "_shape",
        "_trail", "_vain", "_width", "_write", "count",
    )  # fmt: skip

    def __init__(self, write: Callable[[bytes], object], send: Callable[[bytes], object]) -> None:
        """`write` sends bytes that are framed, `send` frames them."""
        self._write = write
        self._send = send
        self._shape: Shape | None = None
        self._before = self._after = self._lead = self._trail = self._again = b""
        self._width = self._behind = 0
        self._vain = 0
        self._learned_at = 0
        self.count = 0

    def learn(self, shape: Shape) -> bool:
        """Compare with `shape` from here on; False when learning has been in vain too often."""
        if shape is self._shape:
            return True
        self._vain = self._vain + 1 if self.count == self._learned_at else 0
        self._learned_at = self.count
        self._shape = shape
        self._before, self._after = shape.before, shape.after + b"\r\n"
        self._width, self._behind = len(self._before), len(self._after)
        self._again = shape.again
        renamed = shape.lead != shape.before or shape.trail != shape.after or shape.again != b""
        self._lead, self._trail = (shape.lead, shape.trail) if renamed else (b"", b"")
        return self._vain < MANY

    def take(self, data: bytes) -> bool:
        """Send `data` on if it is exactly one chunk, whole, of that shape; else False."""
        line = _SIZE_LINES.get(len(data))
        if line is None:
            return False
        start, end = len(line) + self._width, len(data) - self._behind
        if end < start:
            return False
        said = data[start:end]
        if (
            _LINE_FEED in said
            or (_QUOTE in said and said.count(b'"') != said.count(b'\\"'))
            # One comparison of the whole: half the time of one for each part.
            or b"".join((line, self._before, said, self._after)) != data
        ):
            return False
        self.count += 1
        if self._again:
            self._send(b"".join((self._lead, said, self._again, said, self._trail)))
        elif self._lead:
            self._send(b"".join((self._lead, said, self._trail)))
        else:
            self._write(data)
        return True
