"""What a client's connection needs of the gateway."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Protocol

from flm.errors import Refusal
from flm.gateway.edge.caps import Caps
from flm.gateway.edge.heads import Heads
from flm.gateway.exchange import Exchange
from flm.ports.clock import Clock

if TYPE_CHECKING:
    from flm.gateway.edge.connection import Connection


class Desk(Protocol):
    """What a connection needs of the gateway."""

    clock: Clock
    caps: Caps
    heads: Heads
    draining: bool
    connections: set[Connection]

    def open_exchange(self, client: str, loopback: bool, started: float) -> Exchange:
        """A new exchange of that client (`started`: monotonic)."""
        ...

    def judge(self, exchange: Exchange) -> None:
        """Judge the head: raises `Refusal`."""
        ...

    def serve(self, exchange: Exchange, connection: Connection) -> Coroutine[object, None, None]:
        """The exchange's life from here; ends with `connection.finish`."""
        ...

    def refused(self, exchange: Exchange, refusal: Refusal) -> tuple[int, bytes]:
        """Record a refusal; the status and the body that say it."""
        ...
