"""The bounds of everything a stranger can make grow, in one place.

Sum, worst case: 10,000 connections × (64 KiB head + 64 KiB of pipelined bytes + 64 KiB of
unsent answer) = 1.9 GB before any key is checked, but at most 64 connections (12 MB) per foreign
address; 256 MB of request bodies; 256 MB of answers being collected or sent; 64 MB of responses at
hand and 64 MB on their way to be kept (`keeping.py`).
"""

from __future__ import annotations

import ipaddress
from typing import Final

PER_ADDRESS: Final = 64
PER_LOOPBACK: Final = 4096
MAX_CONNECTIONS: Final = 10_000
RESERVED_FILES: Final = 200
BUFFERED_BODIES: Final = 256 << 20
BUFFERED_ANSWERS: Final = 256 << 20
HELD_BYTES: Final = 64 << 10


class Caps:
    """Counts connections and buffered bytes of one gateway."""

    def __init__(self, file_limit: int) -> None:
        self.limit = max(16, min(MAX_CONNECTIONS, (file_limit - RESERVED_FILES) // 2))
        self.connections = 0
        self.bodies = 0
        self.answers = 0
        self._by_address: dict[str, int] = {}

    def admit(self, address: str) -> bool:
        """Count a connection from `address`; False when it is one too many."""
        count = self._by_address.get(address, 0)
        if self.connections >= self.limit or (
            count >= PER_ADDRESS and count >= _allowance(address)
        ):
            return False
        self.connections += 1
        self._by_address[address] = count + 1
        return True

    def leave(self, address: str) -> None:
        """An admitted connection from `address` has ended."""
        self.connections -= 1
        count = self._by_address[address] - 1
        if count:
            self._by_address[address] = count
        else:
            del self._by_address[address]

    def buffer_body(self, size: int) -> bool:
        """Count `size` more bytes of request bodies; False when that is more than all may hold."""
        self.bodies += size
        return self.bodies <= BUFFERED_BODIES


def _allowance(address: str) -> int:
    try:
        return PER_LOOPBACK if ipaddress.ip_address(address).is_loopback else PER_ADDRESS
    except ValueError:
        return PER_ADDRESS
