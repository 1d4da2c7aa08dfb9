"""What an engine answers, as it arrives."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Callable, Mapping
from typing import Final

from flm.gateway.running import PARKED, Run


class EngineGone(Exception):
    """The connection to the engine ended before its answer did.

    ``untouched``: not a byte of the answer had come; ``reused``: the connection was an old one,
    which an engine may close at any time: that alone is tried again, on a fresh one.
    """

    def __init__(self, reason: str, *, untouched: bool, reused: bool) -> None:
        super().__init__(reason)
        self.untouched = untouched
        self.reused = reused


HEAD: Final = 1
END: Final = 2
_NO_HEADERS: Final[Mapping[bytes, bytes]] = types.MappingProxyType({})


class Answer:
    """An engine's answer: `until` waits for its head or its end, ``sink`` takes its body.

    Pieces that come before there is a sink wait in ``early`` for `pour`. One waiter at a time.
    A body that came in one piece while a run was parked here is ``whole``; the sink gets nothing.
    ``express`` may take a whole chunk with its frame instead; False: it goes the usual way.
    """

    __slots__ = (
        "_error", "_head", "_on_end", "_stage", "_step", "_waiter", "_wanted", "early", "express",
        "headers", "sink", "status", "touched", "whole",
    )  # fmt: skip

    def __init__(self, sink: Callable[[bytes], None] | None = None) -> None:
        self.sink = sink
        self.express: Callable[[bytes], bool] | None = None
        self.status = 0
        self.headers = _NO_HEADERS
        self._head = b""
        self.whole: bytes | None = None
        self.touched = False
        self.early: list[bytes] = []
        self._error: EngineGone | None = None
        self._stage = 0
        self._wanted = 0
        self._waiter: asyncio.Future[None] | None = None
        self._on_end: Callable[[EngineGone | None], None] | None = None
        self._step: Callable[[], None] | None = None

    # What the connection reports.

    def on_head(self, status: int, headers: Mapping[bytes, bytes]) -> None:
        """The final status line and headers are there."""
        self.status = status
        self.headers = headers
        self._stage = HEAD
        if self._wanted == HEAD:
            self._wake()

    def on_whole(self, status: int, head: bytes, body: bytes) -> None:
        """All of it at once. `head` holds the status line and the fields, as they came."""
        self.status = status
        self._head = head
        if self._step is not None:
            self.whole = body
            self._stage = END
            self._step()
            return
        if self.sink is not None:
            self.sink(body)
        else:
            self.early.append(body)
        self.on_end()

    def on_end(self) -> None:
        """The message has ended as its framing says."""
        self._stage = END
        self._wake()
        if self._step is not None:
            self._step()
        if self._on_end is not None:
            self._on_end(None)

    def on_failed(self, error: EngineGone) -> None:
        """The message will not end."""
        self._error = error
        self.express = None
        if self._step is not None:
            # Not from here: this may be inside a callback of the parser.
            asyncio.get_running_loop().call_soon(self._step)
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_exception(error)
        if self._on_end is not None:
            self._on_end(error)

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # What the endpoint does with it.

    def texts(self) -> dict[str, str]:
        """The headers as text, names in lower case."""
        pairs = self.headers.items() or (
            (name.lower(), value.strip())
            for name, _, value in (line.partition(b":") for line in self._head.split(b"\r\n")[1:])
        )
        return {name.decode("latin-1"): value.decode("latin-1") for name, value in pairs}

    @property
    def over(self) -> bool:
        """Whether nothing will come any more."""
        return self._stage >= END or self._error is not None

    async def parked(self, run: Run) -> None:
        """Wait for `END` without a task: the connection steps the run. Raises `EngineGone`."""
        if not self.over:
            self._step = run.step
            try:
                await PARKED
            finally:
                self._step = None
        if self._error is not None:
            raise self._error

    def until(self, stage: int) -> asyncio.Future[None]:
        """To be awaited: ends at `HEAD` or `END`, or with `EngineGone` when it will not come."""
        self._wanted = stage
        self._waiter = waiter = asyncio.get_running_loop().create_future()
        if self._stage >= stage:
            waiter.set_result(None)
        elif self._error is not None:
            waiter.set_exception(self._error)
        return waiter

    def pour(
        self, sink: Callable[[bytes], None], on_end: Callable[[EngineGone | None], None]
    ) -> None:
        """Give the body to `sink` from here on, what came before first; then say its end once."""
        self.sink = sink
        early, self.early = self.early, []
        for piece in early:
            sink(piece)
        if self.over:
            on_end(self._error)
        else:
            self._on_end = on_end

    def release(self) -> None:
        """Forget the sink: it refers to what refers to this."""
        self.sink = None
        self.express = None
        self._on_end = None
