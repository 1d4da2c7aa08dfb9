"""A request's body that is passed on while it arrives, instead of being held whole.

The connection gives its pieces, the endpoint takes them. What nobody takes yet waits here,
counted against the bound of all request bodies; past `HELD` the client is read no further.
While it is not read nobody sees that it left: whoever holds it back keeps a deadline of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from flm.gateway.edge.caps import Caps

HELD = 256 << 10
"""Bytes that wait for a taker before the client is held back."""


class Upload:
    """One body on its way. ``whole``: its last byte is here; ``held``: the client is not read."""

    __slots__ = (
        "_caps", "_pieces", "_sink", "_transport", "_waiter", "_waiting", "held", "whole",
    )  # fmt: skip

    def __init__(self, caps: Caps, transport: asyncio.Transport) -> None:
        self._caps = caps
        self._transport = transport
        self._pieces: list[bytes] = []
        self._waiting = 0
        self._sink: Callable[[bytes], None] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self.held = False
        self.whole = False

    # What the connection does.

    def feed(self, pieces: list[bytes], whole: bool) -> bool:
        """Pieces of the body, in order; `whole`: they are the last.

        False when more waits, here and elsewhere, than may be held.
        """
        self.whole = whole
        fits = True
        if self._sink is not None:
            for piece in pieces:
                self._sink(piece)
            if whole:
                self._sink(b"")
        else:
            fits = self._keep(pieces)
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
        return fits

    def _keep(self, pieces: list[bytes]) -> bool:
        size = sum(map(len, pieces))
        self._pieces += pieces
        self._waiting += size
        if self._waiting > HELD and not self.whole:
            self.hold()
        return self._caps.buffer_body(size)

    def close(self) -> None:
        """Nobody takes it any more: what waits is forgotten, the rest will be discarded."""
        self._forget()
        self._sink = _discard
        self.go_on()

    def _forget(self) -> None:
        self._pieces = []
        self._caps.bodies -= self._waiting
        self._waiting = 0

    # What the endpoint does.

    async def more(self) -> list[bytes]:
        """The pieces that have come, once there are any; none at the end of the body."""
        if not self._pieces and not self.whole:
            self._waiter = waiter = asyncio.get_running_loop().create_future()
            await waiter
            self._waiter = None
        pieces = self._pieces
        self._forget()
        self.go_on()
        return pieces

    def pour(self, sink: Callable[[bytes], None]) -> None:
        """Give every piece to `sink` from here on, what came before first, and b"" at the end.

        Called by the connection: `sink` must not raise.
        """
        self._sink = sink
        pieces = self._pieces
        self._forget()
        self.go_on()
        for piece in pieces:
            sink(piece)
        if self.whole:
            sink(b"")

    def hold(self) -> None:
        """Read the client no further for now."""
        if not self.held:
            self.held = True
            if not self._transport.is_closing():
                self._transport.pause_reading()

    def go_on(self) -> None:
        """Read on."""
        if self.held:
            self.held = False
            if not self._transport.is_closing():
                self._transport.resume_reading()


def _discard(piece: bytes) -> None:
    del piece
