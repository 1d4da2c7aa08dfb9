"""Idle connections to one engine: at most 8 stay, for 4 s (engines close theirs after about 5).

What came back since the last sweep is kept whatever its number (up to 256): under load a
connection is idle for microseconds, and closing the ninth at once would mean connecting anew for
most requests (measured: a third of the throughput at 32 clients). The sweep trims.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Final

from flm.errors import EngineError
from flm.gateway.running import in_task
from flm.gateway.upstream.connection import EngineConnection
from flm.gateway.upstream.outbox import Outbox
from flm.gateway.upstream.secure import Secured, SecureEngineConnection

MAX_IDLE: Final = 8
MAX_RETURNED: Final = 256
IDLE_SECONDS: Final = 4.0


class Pool:
    """Connections to one address; ``secured``: over TLS."""

    def __init__(self, host: str, port: int, secured: Secured | None = None) -> None:
        self._host = host
        self._port = port
        self._secured = secured
        self._idle: list[EngineConnection] = []
        self._outbox = Outbox()
        self._closed = False

    def reuse(self) -> EngineConnection | None:
        """An idle connection that is still open, the freshest first."""
        while self._idle:
            connection = self._idle.pop()
            if connection.open:
                connection.reused = True
                return connection
        return None

    async def connect(self, seconds: float) -> EngineConnection:
        """A fresh connection, its handshake done.

        Raises `EngineError` 502 or 504 when there is none in `seconds`, and 502
        `engine_certificate_invalid`, which is not worth another try.
        """
        await in_task()
        try:
            async with asyncio.timeout(seconds):
                return await self._connected()
        except TimeoutError as error:
            raise EngineError(
                504, "engine_unreachable", "The engine did not accept a connection in time.",
                kind="upstream_error", retry_after=5,
            ) from error  # fmt: skip
        except ssl.SSLError as error:
            assert self._secured is not None
            raise self._secured.failed(error) from error
        except OSError as error:
            raise EngineError(
                502, "engine_unreachable", "The engine does not accept connections.",
                kind="upstream_error", retry_after=5,
            ) from error  # fmt: skip

    async def _connected(self) -> EngineConnection:
        loop, secured, outbox = asyncio.get_running_loop(), self._secured, self._outbox
        if secured is None:
            _, plain = await loop.create_connection(
                lambda: EngineConnection(outbox), self._host, self._port
            )
            return plain
        _, connection = await loop.create_connection(
            lambda: SecureEngineConnection(outbox),
            self._host,
            self._port,
            ssl=secured.context(),
            server_hostname=secured.name,
        )
        secured.connected()
        return connection

    def release(self, connection: EngineConnection, now: float) -> None:
        """Keep a connection whose answer ended cleanly, or close it."""
        if self._closed or not connection.reusable or len(self._idle) >= MAX_RETURNED:
            connection.abandon()
            return
        connection.idle_since = now
        self._idle.append(connection)

    def sweep(self, now: float) -> None:
        """Keep the freshest 8, unless they have been idle for too long."""
        kept: list[EngineConnection] = []
        for connection in reversed(self._idle):
            fresh = now - connection.idle_since < IDLE_SECONDS
            if connection.open and fresh and len(kept) < MAX_IDLE:
                kept.append(connection)
            else:
                connection.close()
        kept.reverse()
        self._idle = kept

    def close(self) -> None:
        """Close what is idle, and keep nothing any more."""
        self._closed = True
        for connection in self._idle:
            connection.close()
        self._idle = []
