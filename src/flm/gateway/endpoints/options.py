"""`OPTIONS` on any route: which methods it takes. CORS preflights are these."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flm.gateway.edge.request import decoded

if TYPE_CHECKING:
    from flm.gateway.desk import GatewayDesk
    from flm.gateway.edge.connection import Connection
    from flm.gateway.exchange import Exchange


async def options(exchange: Exchange, connection: Connection, desk: GatewayDesk) -> None:
    """204 with `Allow`. No origin is allowed anything: browsers need the header that says so."""
    request = exchange.request
    assert request is not None
    exchange.status = 204
    allow = b"allow: %b\r\n" % desk.table.allow(decoded(request.path))
    connection.answer_nothing(exchange, allow)
