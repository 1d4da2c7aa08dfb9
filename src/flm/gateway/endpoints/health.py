"""Liveness: no key, tells nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flm.gateway.desk import GatewayDesk
    from flm.gateway.edge.connection import Connection
    from flm.gateway.exchange import Exchange


async def health(exchange: Exchange, connection: Connection, desk: GatewayDesk) -> None:
    """`{"status":"ok"}`: the gateway answers."""
    desk.answer(exchange, connection, b'{"status":"ok"}')
