"""Ollama's API for clients that speak nothing else: what only tells, and what FLM does not do."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import msgspec

from flm.dialects.body import decode_object
from flm.dialects.client_ollama import catalogue
from flm.dialects.fields import wrong_value
from flm.errors import Refusal
from flm.gateway.edge.heads import JSON
from flm.gateway.published import entry, visible
from flm.wire.snapshot import Routes

if TYPE_CHECKING:
    from flm.gateway.desk import GatewayDesk
    from flm.gateway.edge.connection import Connection
    from flm.gateway.exchange import Exchange

_TEXT = b"text/plain; charset=utf-8"
_LATEST = ":latest"
_VERSION = b'{"version":"%b"}' % catalogue.VERSION.encode()

_COMMANDS: Mapping[str, str] = MappingProxyType(
    {
        "/api/pull": "flm models pull",
        "/api/delete": "flm models remove",
        "/api/create": "flm api create",
        "/api/copy": "flm api create",
    }
)
"""Which command of the owner's does what a client cannot."""


class GivenShow(msgspec.Struct):
    """Older clients call the model ``name``."""

    model: str | None = None
    name: str | None = None


_decode_show = msgspec.json.Decoder(GivenShow).decode


def known_name(routes: Routes, name: str) -> str:
    """The name FLM knows a model by, where a client has added Ollama's tag `:latest` to it."""
    bare = name.removesuffix(_LATEST)
    if bare == name or name in routes.models or name in routes.published:
        return name
    return bare if bare in routes.models or bare in routes.published else name


async def root(exchange: Exchange, connection: Connection, desk: GatewayDesk) -> None:
    """`GET /`: by this sentence clients know an Ollama."""
    _tell(exchange, connection, desk, _TEXT, b"Ollama is running")


async def version(exchange: Exchange, connection: Connection, desk: GatewayDesk) -> None:
    """`GET /api/version`: the Ollama whose API this is, not FLM's."""
    _tell(exchange, connection, desk, JSON, _VERSION)


def _tell(
    exchange: Exchange, connection: Connection, desk: GatewayDesk, kind: bytes, body: bytes
) -> None:
    """The same for everybody; neither route is journalled."""
    del desk
    exchange.status = 200
    connection.answer(exchange, 200, kind, body)


async def tags(exchange: Exchange, connection: Connection, desk: GatewayDesk) -> None:
    """`GET /api/tags`: everything the key may use."""
    models = visible(desk.live.routes, exchange.key_id)
    desk.answer(exchange, connection, catalogue.tags(models.values()))


async def running(exchange: Exchange, connection: Connection, desk: GatewayDesk) -> None:
    """`GET /api/ps`: those that answer at once."""
    models = visible(desk.live.routes, exchange.key_id)
    body = catalogue.running(models.values(), desk.clock.now())
    desk.answer(exchange, connection, body)


async def show(exchange: Exchange, connection: Connection, desk: GatewayDesk) -> None:
    """`POST /api/show`: one model. Raises `Refusal` 404 `model_not_found`."""
    decode_object(exchange.body)
    try:
        asked = _decode_show(exchange.body)
    except msgspec.ValidationError as error:
        raise wrong_value(error) from error
    name = asked.model or asked.name
    if not name:
        raise Refusal(
            400, "missing_required_parameter", "Missing required parameter: 'model'.", param="model"
        )
    exchange.model = name
    routes = desk.live.routes
    found = entry(routes, known_name(routes, name), exchange.key_id)
    if found is None:
        raise desk.live.unknown_model(name)
    desk.answer(exchange, connection, catalogue.shown(found, name))


async def unsupported(exchange: Exchange, connection: Connection, desk: GatewayDesk) -> None:
    """What changes models, files or accounts. Raises `Refusal` 501 `not_supported`."""
    del connection, desk
    message = f"{exchange.route_name} is not supported by FLM."
    command = _COMMANDS.get(exchange.route_name)
    if command is not None:
        message += f" Whoever runs it uses `{command}`."
    raise Refusal(501, "not_supported", message, kind="server_error", should_retry=False)
