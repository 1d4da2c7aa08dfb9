"""`GET /v1/models` and `GET /v1/models/{id}`: everything that can be asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from flm.dialects.client_anthropic.models import model_page, one_model
from flm.gateway.edge.request import decoded_name
from flm.gateway.published import entry, visible
from flm.wire.snapshot import ModelEntry

if TYPE_CHECKING:
    from flm.gateway.desk import GatewayDesk
    from flm.gateway.edge.connection import Connection
    from flm.gateway.exchange import Exchange


class ModelObject(msgspec.Struct, frozen=True, kw_only=True):
    """A model in OpenAI's shape, with what FLM knows beside it."""

    id: str
    object: str = "model"
    created: int
    owned_by: str
    context_length: int | None
    capabilities: tuple[str, ...]
    engines: tuple[str, ...]
    state: str
    remote: bool


class ModelList(msgspec.Struct, frozen=True):
    """A list in OpenAI's shape."""

    data: list[ModelObject]
    object: str = "list"


def _object(entry: ModelEntry) -> ModelObject:
    return ModelObject(
        id=entry.name,
        created=entry.created,
        owned_by=entry.engines[0] if entry.engines else "flm",
        context_length=entry.context_length,
        capabilities=entry.capabilities,
        engines=entry.engines,
        state=entry.state,
        remote=entry.remote,
    )


def _asks_as_anthropic(exchange: Exchange) -> bool:
    """Whether the client is one of Anthropic's; errors are said in its words then, too."""
    request = exchange.request
    if request is None or b"anthropic-version" not in request.values:
        return False
    exchange.dialect = "anthropic"
    return True


async def list_models(exchange: Exchange, connection: Connection, desk: GatewayDesk) -> None:
    """All that the key may ask for, by name, on one page; in Anthropic's shape for
    `anthropic-version`."""
    known = visible(desk.live.routes, exchange.key_id)
    entries = [known[name] for name in sorted(known)]
    if _asks_as_anthropic(exchange):
        desk.answer(exchange, connection, model_page(entries))
        return
    listed = ModelList([_object(entry) for entry in entries])
    desk.answer(exchange, connection, msgspec.json.encode(listed))


async def show_model(exchange: Exchange, connection: Connection, desk: GatewayDesk) -> None:
    """One model. Its name may hold slashes, encoded or not: it is compared, never a path.

    Raises `Refusal` 404 `model_not_found` naming the nearest ones.
    """
    request, route = exchange.request, exchange.route
    assert request is not None
    assert route is not None
    name = decoded_name(request.path)[len(route.path) :].decode("utf-8", "replace")
    exchange.model = name
    as_anthropic = _asks_as_anthropic(exchange)
    found = entry(desk.live.routes, name, exchange.key_id)
    if found is None:
        raise desk.live.unknown_model(name)
    body = one_model(found) if as_anthropic else msgspec.json.encode(_object(found))
    desk.answer(exchange, connection, body)
