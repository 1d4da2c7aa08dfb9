"""Clients without keys, by the owner's choice: whose a request without a key is, by its peer."""

from __future__ import annotations

import ipaddress

from flm.domain.addresses import peer
from flm.domain.hosts import ALWAYS, host_name
from flm.gateway.edge.request import Request
from flm.wire.snapshot import KeyEntry, Keys

_REMEMBERED = 256

_FORWARDED = frozenset(
    (
        b"forwarded", b"via", b"x-real-ip", b"x-client-ip", b"x-cluster-client-ip",
        b"true-client-ip", b"cf-connecting-ip", b"cf-ray", b"fastly-client-ip",
        b"tailscale-user-login", b"x-original-host", b"x-envoy-external-address",
    )
)  # fmt: skip
_FORWARDED_START = b"x-forwarded"
"""What proxies and tunnels add: the peer is one of these then, and not who asks."""

_MEANT = b"flm_"
_OWN_SITES = (b"none", b"same-origin")
"""`Sec-Fetch-Site` of what a person typed, and of FLM's own pages."""


class KeylessClients:
    """The addresses whose requests may come without a key. Remembers peers, for they repeat."""

    def __init__(self, keys: Keys) -> None:
        self._networks = [
            (ipaddress.ip_network(network), keys.entries[key])
            for network, key in keys.keyless
            if key in keys.entries
        ]
        self._known: dict[str, KeyEntry | None] = {}

    def __len__(self) -> int:
        return len(self._networks)

    def entry(self, client: str) -> KeyEntry | None:
        """The key that requests of the peer `client` count as; None: they need one of their own."""
        if client not in self._known:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[client] = self._looked_up(client)
        return self._known[client]

    def _looked_up(self, client: str) -> KeyEntry | None:
        address = peer(client)
        if address is None:
            return None
        return next((entry for network, entry in self._networks if address in network), None)


def comes_by_itself(request: Request, allowed_hosts: frozenset[str]) -> bool:
    """Whether nothing speaks against the peer being who asks.

    A web page that a browser there has open (`Origin`, `Sec-Fetch-Site`, or a name of its own that
    leads here), and a proxy or tunnel that runs there, would lend it to strangers.
    """
    values = request.values
    if b"origin" in values or any(
        site.strip().lower() not in _OWN_SITES for site in request.all(b"sec-fetch-site")
    ):
        return False
    if _MEANT in values.get(b"authorization", b"") or _MEANT in values.get(b"x-api-key", b""):
        return False  # half a key of FLM's is a mistake, and to be told as one
    if any(name in _FORWARDED or name.startswith(_FORWARDED_START) for name in values):
        return False
    host = host_name(values.get(b"host", b"").decode("latin-1"))
    if host is None:
        return b"host" not in values  # HTTP/1.0 on loopback; the host guard let it pass
    return host in ALWAYS or host in allowed_hosts or peer(host) is not None
