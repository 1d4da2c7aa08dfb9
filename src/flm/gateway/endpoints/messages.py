"""Anthropic's Messages: `POST /v1/messages` and `POST /v1/messages/count_tokens`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flm.dialects.client_anthropic import counting
from flm.dialects.client_anthropic.conversation import (
    MessagesConversation,
    parse_counted,
    parse_messages,
)
from flm.dialects.codec import EngineCall
from flm.dialects.engine import CODECS
from flm.dialects.openai_chat import ChatRequest
from flm.dialects.shaping import shaped
from flm.errors import EngineError
from flm.gateway.edge.connection import CLOSED
from flm.gateway.edge.heads import JSON
from flm.gateway.endpoints.asking import Asking
from flm.gateway.endpoints.converse import converse
from flm.gateway.endpoints.course import Course
from flm.gateway.running import in_task
from flm.gateway.upstream.answer import END
from flm.wire.snapshot import Target

if TYPE_CHECKING:
    from flm.gateway.desk import GatewayDesk
    from flm.gateway.edge.connection import Connection
    from flm.gateway.exchange import Exchange

ESTIMATED = b"x-flm-estimated: true\r\n"


async def messages(exchange: Exchange, connection: Connection, desk: GatewayDesk) -> None:
    """A message by a model of any engine."""
    rules = desk.live.rules
    conversation = parse_messages(exchange.body, rules.policy, remote=rules.media_fetch)
    await converse(exchange, connection, desk, conversation)


async def count_tokens(exchange: Exchange, connection: Connection, desk: GatewayDesk) -> None:
    """How many tokens a request would have: `{"input_tokens":N}`.

    Counted by the engine where it can; else, and where it sleeps or fails, guessed, and
    `x-flm-estimated: true` says so. Nothing is woken for it.
    """
    rules = desk.live.rules
    conversation = parse_counted(exchange.body, rules.policy, remote=rules.media_fetch)
    chat = conversation.chat
    exchange.model = chat.model
    exchange.body = b""
    course = Course(exchange, desk, chat.model)
    counter = _Counter(exchange, desk, course.next().target)
    published = course.published
    if chat.remote_media:
        count = None  # nothing is fetched only to be counted, least of all by the engine
    elif published is not None and published.shapes:
        chat = shaped(chat, published, exchange.arrived)
        count = await counter.tokenized(chat)
    else:
        count = await counter.counted(conversation)
    guessed = count is None
    if count is None:
        count = counting.estimated(chat)
    exchange.status = 200
    desk.record(exchange)
    if connection.phase is not CLOSED:
        body = b'{"input_tokens":%d}' % count
        connection.answer(exchange, 200, JSON, body, ESTIMATED if guessed else b"")


class _Counter:
    """Asks one engine for a count, in the ways it knows. None: it cannot tell."""

    def __init__(self, exchange: Exchange, desk: GatewayDesk, target: Target) -> None:
        self._exchange = exchange
        self._desk = desk
        self._target = target

    async def counted(self, conversation: MessagesConversation) -> int | None:
        """The engine's own count of the request, else of its translation."""
        native = conversation.native_count(self._target)
        if native is not None:
            body = await self._ask(native.counting(self._target))
            if body is not None:
                return counting.counted_in(body)
        return await self.tokenized(conversation.chat)

    async def tokenized(self, chat: ChatRequest) -> int | None:
        """What the engine's tokenizer makes of the messages."""
        target = self._target
        if "tokenize" not in target.native:
            return None
        body = await self._ask(counting.tokenizing(chat, target))
        count = None if body is None else counting.tokens_in(body)
        if count is not None:
            return count
        body = await self._ask(counting.templating(chat, target))
        prompt = None if body is None else counting.prompt_in(body)
        if prompt is None:
            return None
        body = await self._ask(counting.tokenizing_text(prompt, target))
        return None if body is None else counting.listed_in(body)

    async def _ask(self, call: EngineCall) -> bytes | None:
        """The engine's answer; None when it sleeps, is gone, or answers with an error."""
        await in_task()  # one exchange may ask several times
        desk = self._desk
        live = desk.live.target(self._target.id)
        if live is None:
            return None
        try:
            with Asking(self._exchange, desk) as asking:
                target = asking.use(live)
                if target is None:
                    return None
                await asking.ask(call, END)
                return asking.result(CODECS[target.dialect])
        except EngineError:
            return None  # a guess helps more than an error: nobody is answered by a count
