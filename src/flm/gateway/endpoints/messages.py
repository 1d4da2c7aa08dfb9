"""Anthropic's Messages: `POST /v1/messages` and `POST /v1/messages/count_tokens`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flm.dialects.client_anthropic.conversation import (
    parse_counted,
    parse_messages,
)
from flm.dialects.estimates import estimated
from flm.dialects.shaping import shaped
from flm.gateway.edge.connection import CLOSED
from flm.gateway.edge.heads import JSON
from flm.gateway.endpoints.converse import converse
from flm.gateway.endpoints.counting import Counter
from flm.gateway.endpoints.course import Course
from flm.gateway.outline import outline_body
from flm.gateway.running import LARGE

if TYPE_CHECKING:
    from flm.gateway.desk import GatewayDesk
    from flm.gateway.edge.connection import Connection
    from flm.gateway.exchange import Exchange

ESTIMATED = b"x-flm-estimated: true\r\n"


async def messages(exchange: Exchange, connection: Connection, desk: GatewayDesk) -> None:
    """A message by a model of any engine."""
    if len(exchange.body) > LARGE:
        await outline_body(exchange, desk)
    rules = desk.live.rules
    conversation = parse_messages(exchange.body, rules.policy, remote=rules.media_fetch)
    await converse(exchange, connection, desk, conversation)


async def count_tokens(exchange: Exchange, connection: Connection, desk: GatewayDesk) -> None:
    """How many tokens a request would have: `{"input_tokens":N}`.

    Counted by the engine where it can; else, and where it sleeps or fails, guessed, and
    `x-flm-estimated: true` says so. Nothing is woken for it.
    """
    if len(exchange.body) > LARGE:
        await outline_body(exchange, desk)
    rules = desk.live.rules
    conversation = parse_counted(exchange.body, rules.policy, remote=rules.media_fetch)
    chat = conversation.chat
    exchange.model = chat.model
    exchange.body = b""
    course = Course(exchange, desk, chat.model)
    target = course.next().target
    counter = Counter(exchange, desk, target)
    published = course.published
    if chat.remote_media:
        count = None  # nothing is fetched only to be counted, least of all by the engine
    elif published is not None and published.shapes:
        chat = shaped(chat, published, exchange.arrived)
        native = None
    else:
        native = conversation.native_count(target)
    count = None if native is None else await counter.by_call(native.counting(target))
    if count is None:
        count = await counter.prompt(chat)
    guessed = count is None
    if count is None:
        count = estimated(chat)
    exchange.status = 200
    desk.record(exchange)
    if connection.phase is not CLOSED:
        body = b'{"input_tokens":%d}' % count
        connection.answer(exchange, 200, JSON, body, ESTIMATED if guessed else b"")
