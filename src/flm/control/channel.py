"""The controller's end of the channel: frames in, typed messages out."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import cast

import msgspec

from flm.wire.channel import Framer, ToController, ToGateway, decode_to_controller, frame

logger = logging.getLogger("flm.control.channel")


class Channel(asyncio.Protocol):
    """A connected channel. `received` is called with each message, `lost` once, at its end.

    Bytes that are no message end the channel: the gateway behind it is not what we started.
    """

    def __init__(self, received: Callable[[ToController], None], lost: Callable[[], None]) -> None:
        self._received = received
        self._lost = lost
        self._framer = Framer()
        self._transport: asyncio.Transport | None = None

    @classmethod
    async def open(
        cls,
        end: socket.socket,
        received: Callable[[ToController], None],
        lost: Callable[[], None],
    ) -> Channel:
        """The channel over our `end` of a connected pair; it owns the socket from here on."""
        channel = cls(received, lost)
        await asyncio.get_running_loop().create_connection(lambda: channel, sock=end)
        return channel

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        try:
            for payload in self._framer.feed(data):
                self._received(decode_to_controller(payload))
        except (ValueError, msgspec.DecodeError) as error:
            logger.warning("the gateway sent what is no message: %s", error)
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop."""
        self._transport = None
        self._lost()

    def send(self, message: ToGateway) -> None:
        """Send `message`; nothing happens when the channel has ended, `lost` has told."""
        if self._transport is not None:
            self._transport.write(frame(message))

    def close(self) -> None:
        """End the channel now; the gateway leaves by itself when it sees it."""
        if self._transport is not None:
            self._transport.abort()
