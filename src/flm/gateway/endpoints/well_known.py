"""`GET /.well-known/flm`: which FLM this is, so that none takes itself for an engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flm.gateway.desk import GatewayDesk
    from flm.gateway.edge.connection import Connection
    from flm.gateway.exchange import Exchange


async def well_known(exchange: Exchange, connection: Connection, desk: GatewayDesk) -> None:
    """`{"instance":"…"}`; see `flm.domain.instance`."""
    desk.answer(exchange, connection, b'{"instance":"%b"}' % desk.live.instance.encode())
