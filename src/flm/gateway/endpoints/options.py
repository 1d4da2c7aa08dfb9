"""`OPTIONS` on any route: which methods it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flm.gateway.edge.heads import JSON
from flm.gateway.edge.request import decoded

if TYPE_CHECKING:
    from flm.gateway.desk import GatewayDesk
    from flm.gateway.edge.connection import Connection
    from flm.gateway.exchange import Exchange


async def options(exchange: Exchange, connection: Connection, desk: GatewayDesk) -> None:
    """An empty answer with `Allow`."""
    request = exchange.request
    assert request is not None
    allow = b"allow: %b\r\n" % desk.table.allow(decoded(request.path))
    exchange.status = 200
    connection.answer(exchange, 200, JSON, b"", allow)
