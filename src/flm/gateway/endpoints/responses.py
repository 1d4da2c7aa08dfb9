"""`/v1/responses`: OpenAI's Responses, and what is kept of them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

import msgspec

from flm.dialects.client_responses.asked import Asked, parse_responses
from flm.dialects.client_responses.conversation import ResponsesConversation
from flm.dialects.client_responses.kept import (
    KeptResponse,
    by_id,
    listed,
    not_kept,
    resolved,
    response_of,
)
from flm.dialects.client_responses.writer import response_in, with_response
from flm.errors import Refusal
from flm.gateway.edge.request import decoded_name
from flm.gateway.endpoints.converse import converse
from flm.gateway.outline import outline_body, outlined, whole
from flm.gateway.running import LARGE

if TYPE_CHECKING:
    from flm.gateway.desk import GatewayDesk
    from flm.gateway.edge.connection import Connection
    from flm.gateway.exchange import Exchange

MAX_REFERENCES = 64
"""Responses whose items one request may name."""

DEFAULT_PAGE, MAX_PAGE = 20, 100
_encode = msgspec.json.Encoder().encode


async def responses(exchange: Exchange, connection: Connection, desk: GatewayDesk) -> None:
    """`POST /v1/responses`: an answer, kept before the client has it whole unless it says no."""
    if len(exchange.body) > LARGE:
        await outline_body(exchange, desk)
    policy = desk.live.rules.policy
    asked = parse_responses(exchange.body, policy)
    exchange.body = b""
    exchange.model = asked.params.model
    if asked.references:
        asked = await _with_items(exchange, desk, asked)
    history: tuple[KeptResponse, ...] = ()
    previous = asked.params.previous_response_id
    if previous is not None:
        turns = await desk.keeping.history(exchange.key_id, previous)
        history = tuple([await _outlined(exchange, desk, turn) for turn in turns])
    conversation = ResponsesConversation(asked, policy, history, remote=desk.live.rules.media_fetch)
    if asked.store:
        conversation.keeper = partial(_keep, exchange, desk, conversation)
    await converse(exchange, connection, desk, conversation)


async def _with_items(exchange: Exchange, desk: GatewayDesk, asked: Asked) -> Asked:
    """`asked` with the items it only names, out of what was kept."""
    wanted = dict.fromkeys(response_of(one) for one in asked.references)
    if len(wanted) > MAX_REFERENCES:
        raise Refusal(
            400,
            "invalid_value",
            f"'input' names items of more than {MAX_REFERENCES} responses:"
            " use 'previous_response_id'.",
            param="input",
        )
    found = [
        await desk.keeping.recall(exchange.key_id, response) for response in wanted if response
    ]
    known = [await _outlined(exchange, desk, kept) for kept in found if kept is not None]
    return resolved(asked, by_id(known))


async def _outlined(exchange: Exchange, desk: GatewayDesk, kept: KeptResponse) -> KeptResponse:
    if len(kept.items) <= LARGE:
        return kept
    return msgspec.structs.replace(kept, items=await outlined(exchange, desk, kept.items))


async def _keep(
    exchange: Exchange, desk: GatewayDesk, conversation: ResponsesConversation, last: bytes
) -> bytes:
    """Keep the answer in `last`, a whole body or the events that end a stream.

    Returns what is to be sent: `last`, or the same saying that it could not be kept.
    """
    streamed = exchange.streamed
    body = response_in(last) if streamed else last
    id_, kept = conversation.to_keep(body)
    if exchange.blobs is not None:
        kept = msgspec.structs.replace(kept, items=await whole(exchange, kept.items))
    if await desk.keeping.keep(exchange.key_id, id_, exchange.model, kept):
        return last
    body = not_kept(body)
    return with_response(last, body) if streamed else body


# What was kept.


async def show_response(exchange: Exchange, connection: Connection, desk: GatewayDesk) -> None:
    """`GET /v1/responses/{id}` and `GET /v1/responses/{id}/input_items`."""
    id_, rest = _named(exchange)
    query = _query(exchange)
    kept = None
    if rest in ("", "input_items"):
        kept = await desk.keeping.recall(exchange.key_id, id_)
    if kept is None:
        raise _no_response(id_)
    if rest == "input_items":
        desk.answer(exchange, connection, _page(kept, query))
        return
    if query.get("stream", "").lower() in ("true", "1"):
        raise Refusal(
            400,
            "unsupported_parameter",
            "What was kept is not streamed again: leave 'stream' out.",
            param="stream",
        )
    desk.answer(exchange, connection, kept.response)


async def forget_response(exchange: Exchange, connection: Connection, desk: GatewayDesk) -> None:
    """`DELETE /v1/responses/{id}`: it is gone for good, and with it the chain behind it."""
    id_, rest = _named(exchange)
    if rest or not await desk.keeping.forget(exchange.key_id, id_):
        raise _no_response(id_)
    said = {"id": id_, "object": "response", "deleted": True}
    desk.answer(exchange, connection, _encode(said))


async def cancel_response(exchange: Exchange, connection: Connection, desk: GatewayDesk) -> None:
    """`POST /v1/responses/{id}/cancel`: nothing runs in the background, so nothing is cancelled."""
    id_, rest = _named(exchange)
    if rest != "cancel":
        raise Refusal(404, "not_found", "There is no such route here.")
    if await desk.keeping.recall(exchange.key_id, id_) is None:
        raise _no_response(id_)
    raise Refusal(
        400,
        "invalid_request",
        "Only responses created with 'background': true can be cancelled, and FLM has none: close"
        " the connection to stop an answer.",
        param="response_id",
    )


def _named(exchange: Exchange) -> tuple[str, str]:
    """The id in the path, and what stands behind it."""
    request, route = exchange.request, exchange.route
    assert request is not None
    assert route is not None
    rest = decoded_name(request.path)[len(route.path) :].decode("utf-8", "replace")
    id_, _, more = rest.partition("/")
    return id_, more


def _query(exchange: Exchange) -> Mapping[str, str]:
    request = exchange.request
    assert request is not None
    pairs = parse_qsl(request.query.decode("utf-8", "replace"), max_num_fields=20)
    return dict(pairs)


def _page(kept: KeptResponse, query: Mapping[str, str]) -> bytes:
    """The input items, newest first unless `order` is `asc`."""
    order, limit = query.get("order", "desc"), query.get("limit", str(DEFAULT_PAGE))
    if order not in ("asc", "desc"):
        raise _wrong("order", "expected 'asc' or 'desc'")
    if not (limit.isascii() and limit.isdigit() and 1 <= int(limit[:4]) <= MAX_PAGE):
        raise _wrong("limit", f"expected 1 to {MAX_PAGE}")
    page = listed(kept, int(limit), order == "asc", query.get("after"))
    if page is None:
        raise _wrong("after", "there is no such item")
    return page


def _wrong(name: str, why: str) -> Refusal:
    return Refusal(400, "invalid_value", f"Invalid value for '{name}': {why}.", param=name)


def _no_response(id_: str) -> Refusal:
    """The same for what never was, what is gone, and what is another key's."""
    return Refusal(
        404,
        "response_not_found",
        f"Response with id '{id_[:128]}' not found.",
        param="response_id",
    )
