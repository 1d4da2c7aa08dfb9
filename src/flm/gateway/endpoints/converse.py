"""A conversation in any client's dialect with any engine: asked, translated, passed on.

What a client sends is judged by its own endpoint and comes here as a `Conversation`. Here is what
all of them share: whom to ask and whom next, what of a publication holds, the native way or the
translated one, the answer whole or as a stream.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from flm.dialects.codec import EngineAnswer, StreamReader, Usage
from flm.dialects.conversation import Conversation, Keeper, Stamp
from flm.dialects.engine import CODECS, EngineDialectCodec
from flm.dialects.estimates import estimate
from flm.dialects.openai_chat import ChatRequest
from flm.dialects.shaping import shaped
from flm.dialects.tracing import trace_of
from flm.dialects.translated import TranslatedStream
from flm.errors import Refusal
from flm.gateway.endpoints.asking import Asking
from flm.gateway.endpoints.counting import Counter
from flm.gateway.endpoints.course import Course, details_with
from flm.gateway.endpoints.streamed import answer_streamed
from flm.gateway.live import LiveTarget
from flm.gateway.media_inline import inline_media
from flm.gateway.running import LARGE, others_first
from flm.gateway.upstream.answer import END
from flm.wire.snapshot import Target

if TYPE_CHECKING:
    from flm.gateway.desk import GatewayDesk
    from flm.gateway.edge.connection import Connection
    from flm.gateway.exchange import Exchange


async def converse(
    exchange: Exchange, connection: Connection, desk: GatewayDesk, conversation: Conversation
) -> None:
    """Answer a conversation in its own dialect."""
    await answer_chat(exchange, connection, desk, conversation.chat, conversation)


async def answer_chat(
    exchange: Exchange,
    connection: Connection,
    desk: GatewayDesk,
    chat: ChatRequest,
    conversation: Conversation | None = None,
) -> None:
    """Answer `chat`, the request in OpenAI's words, in the dialect of the `conversation`.

    None: the client speaks OpenAI's itself.
    """
    large, exchange.body = len(exchange.body) > LARGE, b""
    native = True
    if large:  # it was judged: its engine's form is made in another step
        await others_first()
    course = Course(exchange, desk, chat.model)
    if chat.remote_media:
        chat = await inline_media(chat, desk.media, connection.hold_body)
        native = False  # the client's own words still name the URLs
    if course.wants_trace:
        course.follows(trace_of(chat))
    published = course.published
    if published is not None and published.shapes:
        chat = shaped(chat, published, exchange.arrived)
        native = False  # what the owner laid over it stands in `chat` alone
    asked = chat

    def turn_at(target: Target) -> Turn:
        if conversation is None:  # nothing is translated, so nothing is native either
            return Turn(exchange, target, asked, None, False)
        live = desk.live.target(target.id)
        spoken = native and (live is None or exchange.dialect not in live.unspoken)
        turn = Turn(exchange, target, asked, conversation, spoken)
        course.passed_on = turn.passed_on
        return turn

    keeper = None if conversation is None else conversation.keeper
    if chat.stream:
        await answer_streamed(
            exchange, connection, desk, course, turn_at, chat, chat.dropped, keeper
        )
    else:
        await _whole(exchange, connection, desk, course, turn_at, keeper)


async def answer_alone(
    exchange: Exchange,
    connection: Connection,
    desk: GatewayDesk,
    chat: ChatRequest,
    live: LiveTarget,
) -> None:
    """What `answer_chat` does when nothing needs to be decided: a whole answer in OpenAI's dialect
    by the one home there is, which is awake. It is what most requests are, and takes a tenth less.
    """
    exchange.body = b""
    exchange.model = chat.model
    with Asking(exchange, desk) as asking:
        target = asking.use(live)
        assert target is not None
        codec = CODECS[target.dialect]
        call = codec.chat(chat, target)
        await asking.ask(call, END)
        answer = _read(exchange, codec, chat, target, asking.result(codec))
    exchange.usage = answer.usage
    if answer.usage is None:
        exchange.usage = await _counted(exchange, desk, chat, target, answer)
    dropped = call.dropped
    if dropped:
        exchange.details = details_with(dropped)
    desk.answer(exchange, connection, answer.body, dropped)


def _read(
    exchange: Exchange, codec: EngineDialectCodec, chat: ChatRequest, target: Target, body: bytes
) -> EngineAnswer:
    answer_id = "chatcmpl-" + exchange.id.decode()
    return codec.chat_answer(chat, target, body, int(exchange.arrived), answer_id)


async def _counted(
    exchange: Exchange, desk: GatewayDesk, chat: ChatRequest, target: Target, answer: EngineAnswer
) -> Usage:
    if "tokenize" in target.native:
        usage = await Counter(exchange, desk, target).usage(chat, answer.body)
        if usage is not None:
            return usage
    return estimate(chat, answer.body)


class Turn:
    """The conversation as one engine is asked it: the native way, or translated."""

    __slots__ = ("_chat", "_codec", "_conversation", "_exchange", "_native", "_target", "call")

    def __init__(
        self,
        exchange: Exchange,
        target: Target,
        chat: ChatRequest,
        conversation: Conversation | None,
        native: bool,
    ) -> None:
        self._exchange = exchange
        self._target = target
        self._chat = chat
        self._conversation = conversation
        self._codec = codec = CODECS[target.dialect]
        self._native = None
        if native and conversation is not None:
            self._native = conversation.native(target)
        if self._native is not None:
            self.call = self._native.call(target)
        else:
            self.call = codec.chat(chat, target)

    @property
    def passed_on(self) -> bool:
        """Whether the engine gets it the native way."""
        return self._native is not None

    def read(self, body: bytes) -> EngineAnswer:
        """The engine's whole answer: in the client's dialect when it was asked the native way,
        else in OpenAI's.
        """
        if self._native is not None:
            return self._native.answer(self._target, body)
        return _read(self._exchange, self._codec, self._chat, self._target, body)

    async def counted(self, desk: GatewayDesk, answer: EngineAnswer) -> Usage:
        """The tokens of an answer that told none: by the engine's tokenizer, else guessed."""
        if self._native is None:
            return await _counted(self._exchange, desk, self._chat, self._target, answer)
        return estimate(self._chat, answer.body)

    def written(self, body: bytes, usage: Usage) -> bytes:
        """What was read, in the client's dialect."""
        conversation, exchange = self._conversation, self._exchange
        if conversation is None or self._native is not None:
            return body
        return conversation.answer(body, usage, Stamp(exchange.id.decode(), exchange.arrived))

    def reader(self) -> StreamReader:
        """A reader of the streamed answer that gives the client's events."""
        if self._native is not None:
            return self._native.stream(self._target)
        exchange, conversation = self._exchange, self._conversation
        id_ = exchange.id.decode()
        reader = self._codec.chat_stream(
            self._chat, self._target, int(exchange.arrived), "chatcmpl-" + id_
        )
        if conversation is None:
            return reader
        return TranslatedStream(reader, conversation.writer(Stamp(id_, exchange.arrived)))


async def _whole(
    exchange: Exchange,
    connection: Connection,
    desk: GatewayDesk,
    course: Course,
    turn_at: Callable[[Target], Turn],
    keeper: Keeper | None,
) -> None:
    while True:
        live = course.next()
        try:
            with Asking(exchange, desk) as asking:
                target = asking.use(live) or await asking.woken(live)
                turn = turn_at(target)
                await asking.ask(turn.call, END)
                answer = turn.read(asking.result(CODECS[target.dialect]))
            break
        except Refusal as refusal:
            if not course.failed(live, refusal):
                course.note(live, ())
                raise
    dropped = turn.call.dropped
    course.answered(live)
    course.note(live, dropped)
    usage = answer.usage
    if usage is None:
        usage = await turn.counted(desk, answer)
    exchange.usage = usage
    body = turn.written(answer.body, usage)
    if keeper is not None:
        body = await keeper(body)
    desk.answer(exchange, connection, body, dropped)
