"""How a connection ends when its end must not be taken for the end of what it carried."""

from __future__ import annotations

import asyncio
import socket
import struct


def cut(transport: asyncio.Transport, framed: bool) -> None:
    """Close at once: by a reset unless what was sent is `framed`, so that its end is missed."""
    plain = transport.get_extra_info("socket")
    if not framed and plain is not None:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
