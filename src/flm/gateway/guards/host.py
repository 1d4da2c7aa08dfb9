"""Host allowlist on loopback listeners: a web page that points its own name at 127.0.0.1
(DNS rebinding) must not reach the local API.
"""

from __future__ import annotations

from typing import Final

from flm.domain.hosts import host_allowed, host_name
from flm.errors import Refusal
from flm.gateway.exchange import Exchange
from flm.gateway.live import Live

_KNOWN_GOOD_MAX: Final = 256


class HostGuard:
    """Judges Host headers; remembers the bytes it allowed (bounded), for they repeat.

    What another listener lets pass unread is not remembered: it would pass on loopback too.
    """

    def __init__(self) -> None:
        self._allowed: frozenset[str] = frozenset()
        self._good: set[bytes] = set()

    def __call__(self, exchange: Exchange, live: Live) -> None:
        """Raise 400 for a missing, doubled or malformed Host, 421 for one not allowed here."""
        request = exchange.request
        assert request is not None
        host = request.values.get(b"host")
        if host in self._good and not request.doubled and live.allowed_hosts is self._allowed:
            return
        hosts = request.all(b"host")
        if len(hosts) != 1:
            if not hosts and request.http10 and exchange.loopback:
                return
            raise Refusal(400, "bad_host", "The request needs exactly one Host header.", close=True)
        host = hosts[0]
        if live.allowed_hosts is not self._allowed:
            self._allowed = live.allowed_hosts
            self._good.clear()
        text = host.decode("latin-1")
        if host_name(text) is None:
            raise Refusal(400, "bad_host", "The Host header is malformed.", close=True)
        if exchange.loopback and not host_allowed(text, live.allowed_hosts):
            raise Refusal(
                421,
                "host_not_allowed",
                "This Host is not served here. If the name is yours, add it to the setting "
                "server.allowed_hosts.",
            )
        if exchange.loopback and len(self._good) < _KNOWN_GOOD_MAX:
            self._good.add(host)
