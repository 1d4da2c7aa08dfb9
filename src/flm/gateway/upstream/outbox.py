"""Requests to an engine that leave together, at the end of the loop's turn.

Sent one by one, each wakes an engine that has just fallen asleep again, and the sender pays for
that (measured: 6.6 µs of a request's 33 were this one write; together they take half).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flm.gateway.upstream.connection import EngineConnection


class Outbox:
    """The connections to one engine that have something to send in this turn."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: list[EngineConnection] = []

    def add(self, connection: EngineConnection) -> None:
        """Have `connection` send when all that is ready now has been read."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._send)
        self._waiting.append(connection)

    def _send(self) -> None:
        waiting, self._waiting = self._waiting, []
        for connection in waiting:
            connection.send_held()
