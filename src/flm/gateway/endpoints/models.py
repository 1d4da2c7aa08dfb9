"""`GET /v1/models` and `GET /v1/models/{id}`: everything that can be asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from flm.gateway.edge.request import decoded_name
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


async def list_models(exchange: Exchange, connection: Connection, desk: GatewayDesk) -> None:
    """All models, by name."""
    entries = desk.live.models
    listed = ModelList([_object(entries[name]) for name in sorted(entries)])
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
    entry = desk.live.entry(name)
    desk.answer(exchange, connection, msgspec.json.encode(_object(entry)))
