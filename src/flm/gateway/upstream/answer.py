"""What an engine answers, as it arrives."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class EngineGone(Exception):
    """The connection to the engine ended before its answer did.

    ``untouched``: not a byte of the answer had come; ``reused``: the connection was an old one,
    which an engine may close at any time: that alone is tried again, on a fresh one.
    """

    def __init__(self, reason: str, *, untouched: bool, reused: bool) -> None:
        super().__init__(reason)
        self.untouched = untouched
        self.reused = reused


class Answer:
    """An engine's answer. Await `head`, then `done`; or set a sink in between.

    Bytes are collected until `pour` gives them a sink. ``limit`` bounds what is collected:
    `on_excess` is called once when it is passed.
    """

    __slots__ = ("_chunks", "_sink", "done", "head", "headers", "size", "status", "touched")

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.head: asyncio.Future[None] = loop.create_future()
        self.done: asyncio.Future[None] = loop.create_future()
        self.status = 0
        self.headers: dict[str, str] = {}
        self.size = 0
        self.touched = False
        self._chunks: list[bytes] = []
        self._sink: Callable[[bytes], None] | None = None

    # What the connection reports.

    def on_head(self, status: int, headers: dict[str, str]) -> None:
        """The final status line and headers are there."""
        self.status = status
        self.headers = headers
        if not self.head.done():
            self.head.set_result(None)

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        self.size += len(data)
        if self._sink is not None:
            self._sink(data)
        else:
            self._chunks.append(data)

    def on_end(self) -> None:
        """The message has ended as its framing says."""
        if not self.done.done():
            self.done.set_result(None)

    def on_failed(self, error: Exception) -> None:
        """The message will not end."""
        for future in (self.head, self.done):
            if not future.done():
                future.set_exception(error)
                future.exception()  # one of the two may never be awaited

    # What the endpoint does with it.

    def body(self) -> bytes:
        """What was collected so far."""
        return self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)

    def pour(self, sink: Callable[[bytes], None]) -> None:
        """Give the body to `sink` from here on, and what was collected first."""
        chunks, self._chunks = self._chunks, []
        self._sink = sink
        for chunk in chunks:
            sink(chunk)
