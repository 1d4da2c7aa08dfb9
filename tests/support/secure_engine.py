"""Engines that speak TLS: one that is scripted, and one that answers by routes."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Mapping

from support.replay import ReplayServer, Reply
from support.scripted_engine import EngineSide, Script, ScriptedEngine


class SecureSide(EngineSide):
    """One connection over TLS. ``greeted``: the name the client asked for (SNI)."""

    _connection: ssl.SSLSocket

    def goodbye(self) -> None:
        """Say that this is the end (close_notify), then close."""
        with contextlib.suppress(OSError):
            self._connection.unwrap()
        self._connection.close()


class SecureEngine(ScriptedEngine):
    """``context``: its certificate; a new one counts for new connections.

    ``names``: the name each client asked for; ``protocols``: what was agreed on; ``refused``: what
    clients said of a certificate they did not take.
    """

    def __init__(self, script: Script, context: ssl.SSLContext) -> None:
        super().__init__(script)
        self.context = context
        self.names: list[str | None] = []
        self.protocols: list[tuple[str | None, str | None]] = []
        self.refused: list[str] = []

    def _run(self, side: EngineSide) -> None:
        raw = side._connection
        self.context.sni_callback = lambda _, name, __: self.names.append(name)
        try:
            secured = self.context.wrap_socket(raw, server_side=True)
        except OSError as error:
            self.refused.append(getattr(error, "reason", None) or str(error))
            raw.close()
            return
        self.protocols.append((secured.version(), secured.selected_alpn_protocol()))
        self._open.append(secured)
        super()._run(SecureSide(secured, side.number, self.seen))


class SecureServer(ReplayServer):
    """Answers by `routes` over TLS; who does not trust its certificate is not answered."""

    def __init__(
        self,
        routes: Mapping[tuple[str, str], Reply],
        context: ssl.SSLContext,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        super().__init__(dict(routes), host, port)
        self._context = context

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            secured = self._context.wrap_socket(connection, server_side=True)
            with self._lock:
                self._open.add(secured)
            super()._serve(secured)
