"""Content codings of request bodies, taken off in pieces: gzip, deflate, br, zstd.

No step takes in or gives out more than a few hundred kilobytes, so a bomb is refused before it
has grown, and the event loop goes on between two steps. Two codings may lie over each other
(RFC 9110 section 8.4); what follows the end of a stream is refused like any other damage.
"""

from __future__ import annotations

import asyncio
import io
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from flm.errors import Refusal
from flm.gateway.edge.reader import too_large
from flm.gateway.running import in_task

UNDERSTOOD = b"gzip, deflate, br, zstd"
"""What `accept-encoding` says beside a 415 (RFC 9110 section 12.5.3)."""

MOST = 2
"""Codings over each other."""

RATIO = 100
FREE = 1 << 20
"""Beyond a megabyte a body may be at most a hundred times as large as what was sent: text of any
sort is packed to a twentieth at best."""

PIECE = 64 << 10
ROOM = 128 << 10
"""Bytes that one step takes in, and about how many it gives out (brotli: up to twice that)."""

_ZSTD_WINDOW = 23
"""8 MB: what a content coding may ask for (RFC 9659)."""

_NAMES = {b"gzip": "gzip", b"x-gzip": "gzip", b"deflate": "deflate", b"br": "br", b"zstd": "zstd"}


class _Decoder(Protocol):
    """One stream of one coding."""

    @property
    def ended(self) -> bool:
        """Whether the stream has ended as it should."""
        ...

    def take(self, data: bytes) -> bytes:
        """About `ROOM` bytes; b"" when it wants more data. Raises what `_damage` holds."""
        ...


class _Inflating:
    """gzip and zlib by their headers, or raw deflate."""

    def __init__(self, wbits: int) -> None:
        self._stream = zlib.decompressobj(wbits)

    @property
    def ended(self) -> bool:
        return self._stream.eof and not self._stream.unused_data

    def take(self, data: bytes) -> bytes:
        stream = self._stream
        if stream.eof:
            raise _Trailing
        tail = stream.unconsumed_tail
        return stream.decompress(tail + data if tail else data, ROOM)


class _Deflate:
    """`deflate` is zlib's format (RFC 9110 section 8.4.1.2), and raw deflate to some clients."""

    def __init__(self) -> None:
        self._inner: _Inflating | None = None
        self._head = b""

    @property
    def ended(self) -> bool:
        return self._inner is not None and self._inner.ended

    def take(self, data: bytes) -> bytes:
        if self._inner is None:
            self._head += data
            if len(self._head) < 2:
                return b""
            first, second = self._head[:2]
            zlibs = first & 0x0F == 8 and (first << 8 | second) % 31 == 0
            self._inner = _Inflating(zlib.MAX_WBITS if zlibs else -zlib.MAX_WBITS)
            data, self._head = self._head, b""
        return self._inner.take(data)


class _Brotli:
    """`br`. Its library refuses by itself what follows the end."""

    def __init__(self) -> None:
        import brotli

        self._stream = brotli.Decompressor()

    @property
    def ended(self) -> bool:
        return bool(self._stream.is_finished())

    def take(self, data: bytes) -> bytes:
        if data and self.ended:
            raise _Trailing
        return bytes(self._stream.process(data, output_buffer_limit=ROOM))


class _Zstandard:
    """`zstd`, one frame."""

    def __init__(self) -> None:
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
        options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW}
        self._stream = zstd.ZstdDecompressor(options=options)

    @property
    def ended(self) -> bool:
        return bool(self._stream.eof) and not self._stream.unused_data

    def take(self, data: bytes) -> bytes:
        if self._stream.eof:
            raise _Trailing
        return bytes(self._stream.decompress(data, max_length=ROOM))


class _Trailing(Exception):
    """Data behind the end of a stream."""


def _decoder(coding: str) -> _Decoder:
    if coding == "gzip":
        return _Inflating(16 + zlib.MAX_WBITS)
    if coding == "deflate":
        return _Deflate()
    return _Brotli() if coding == "br" else _Zstandard()


def _damage(coding: str) -> tuple[type[Exception], ...]:
    """What a decoder raises for damaged data."""
    if coding == "br":
        import brotli

        return _Trailing, brotli.error
    if coding == "zstd":
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
        return _Trailing, zstd.ZstdError, EOFError
    return _Trailing, zlib.error


def codings_of(values: Iterable[bytes]) -> tuple[str, ...]:
    """The codings of a body by its Content-Encoding fields, the one to take off first in front.

    Raises `Refusal` 415 `unsupported_encoding` for one that is not understood, and for three.
    """
    found: list[str] = []
    for name in b",".join(values).split(b","):
        word = name.strip().lower()
        if word in (b"", b"identity"):
            continue
        coding = _NAMES.get(word)
        if coding is None or len(found) == MOST:
            raise Refusal(
                415,
                "unsupported_encoding",
                "Request bodies may be sent as they are or as gzip, deflate, br or zstd,"
                " two over each other at most.",
                headers=((b"accept-encoding", UNDERSTOOD),),
            )
        found.append(coding)
    return tuple(reversed(found))


def unpacking(body: bytes, codings: tuple[str, ...], limit: int) -> Iterator[bytes]:
    """The plain body, a piece (it may be empty) a step.

    Raises `Refusal`: 400 `damaged_encoding`; 413 `body_too_large` beyond `limit` bytes, 413
    `encoding_ratio` beyond a hundred times what was sent.
    """
    pieces: Iterator[bytes] = (body[at : at + PIECE] for at in range(0, len(body), PIECE))
    for coding in codings:
        pieces = _layer(coding, pieces, limit, max(FREE, RATIO * len(body)))
    return pieces


def _layer(coding: str, packed: Iterator[bytes], limit: int, fair: int) -> Iterator[bytes]:
    decoder, damage = _decoder(coding), _damage(coding)
    total = 0
    for piece in packed:
        data, out = piece, b"first"
        while out:
            try:
                # An empty piece tells nothing new to a stream that waits for more, or has ended.
                out = decoder.take(data) if data or not decoder.ended else b""
            except damage as error:
                raise _damaged(coding) from error
            data = b""
            total += len(out)
            if total > limit:
                raise too_large(limit)
            if total > fair:
                raise _too_dense()
            yield out
    if not decoder.ended:
        raise _damaged(coding)


def _damaged(coding: str) -> Refusal:
    return Refusal(
        400,
        "damaged_encoding",
        f"The request's body is not the {coding} stream that its Content-Encoding says.",
    )


def _too_dense() -> Refusal:
    return Refusal(
        413,
        "encoding_ratio",
        f"The request's body unpacks to more than {RATIO} times its size: send it unencoded.",
    )


async def unpacked(
    body: bytes, codings: tuple[str, ...], limit: int, hold: Callable[[int], bool]
) -> bytes:
    """The plain body, the event loop going on between the steps of a large one.

    `hold` counts bytes that are kept; False: more than all requests together may hold. Raises
    `Refusal` as `unpacking` does, and 503 `overloaded`.
    """
    plain = io.BytesIO()  # grows in place: to join the pieces of a large body takes milliseconds
    steps = 0
    for piece in unpacking(body, codings, limit):
        if not piece:
            steps += 1  # it may have taken in a piece of what was sent
        else:
            steps += 2
            plain.write(piece)
            if not hold(len(piece)):
                raise Refusal(
                    503,
                    "overloaded",
                    "Too many request bodies are being received.",
                    kind="server_error",
                    retry_after=2,
                )
        if steps > 3:
            steps = 0
            await in_task()
            await asyncio.sleep(0)
    return plain.getvalue()
