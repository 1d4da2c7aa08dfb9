"""Ollama's API for clients that speak nothing else: what asks an engine.

What only tells, and what is not supported, is in `ollama_told.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from flm.dialects.client_ollama.conversation import (
    OllamaConversation,
    parse_chat,
    parse_generate,
)
from flm.dialects.client_ollama.embeddings import (
    Embedding,
    embeddings_answer,
    parse_embed,
    parse_embeddings,
    vectors_of_ollama,
    vectors_of_openai,
)
from flm.dialects.client_ollama.loading import load_call, loaded
from flm.dialects.client_ollama.request import Loading
from flm.dialects.codec import EngineAnswer, EngineCall
from flm.dialects.engine import CODECS
from flm.dialects.openai_chat import ChatRequest
from flm.errors import Refusal
from flm.gateway.endpoints.asking import Asking
from flm.gateway.endpoints.converse import answer_chat
from flm.gateway.endpoints.course import Course
from flm.gateway.endpoints.ollama_told import known_name
from flm.gateway.endpoints.whole import answer_whole
from flm.gateway.outline import outline_body
from flm.gateway.running import LARGE
from flm.gateway.upstream.answer import END
from flm.wire.snapshot import Target

if TYPE_CHECKING:
    from flm.gateway.desk import GatewayDesk
    from flm.gateway.edge.connection import Connection
    from flm.gateway.exchange import Exchange

_encode = msgspec.json.Encoder().encode


async def chat(exchange: Exchange, connection: Connection, desk: GatewayDesk) -> None:
    """`POST /api/chat`."""
    if len(exchange.body) > LARGE:
        await outline_body(exchange, desk)
    asked = parse_chat(exchange.body, desk.live.rules.policy, desk.clock.now)
    await _talk(exchange, connection, desk, asked)


async def generate(exchange: Exchange, connection: Connection, desk: GatewayDesk) -> None:
    """`POST /api/generate`."""
    if len(exchange.body) > LARGE:
        await outline_body(exchange, desk)
    asked = parse_generate(exchange.body, desk.live.rules.policy, desk.clock.now)
    await _talk(exchange, connection, desk, asked)


async def embed(exchange: Exchange, connection: Connection, desk: GatewayDesk) -> None:
    """`POST /api/embed`."""
    await _embed(exchange, connection, desk, parse_embed(exchange.body, desk.live.rules.policy))


async def embeddings(exchange: Exchange, connection: Connection, desk: GatewayDesk) -> None:
    """`POST /api/embeddings`, the older route."""
    asked = parse_embeddings(exchange.body, desk.live.rules.policy)
    await _embed(exchange, connection, desk, asked)


async def _talk(
    exchange: Exchange,
    connection: Connection,
    desk: GatewayDesk,
    asked: OllamaConversation | Loading,
) -> None:
    if isinstance(asked, Loading):
        await _load(exchange, connection, desk, asked)
        return
    routes = desk.live.routes
    request = _called(asked.chat, known_name(routes, asked.chat.model))
    if asked.plain:
        _refuse_around(exchange, desk, request.model)
    await answer_chat(exchange, connection, desk, request, asked)


def _called(request: ChatRequest, name: str) -> ChatRequest:
    """The request for the model of that name; the client reads its own in the answer."""
    if name == request.model:
        return request
    fields = {**request.fields, "model": msgspec.Raw(_encode(name))}
    return msgspec.structs.replace(request, model=name, fields=fields)


def _refuse_around(exchange: Exchange, desk: GatewayDesk, name: str) -> None:
    """Raise `Refusal` 400 where the owner lays something around prompts: a raw one takes none."""
    plan = desk.live.plan(name, exchange.key_id)
    published = None if plan is None else plan.published
    if published is not None and (published.template or published.profile is not None):
        exchange.model = name
        raise Refusal(
            400,
            "unsupported_parameter",
            f"'{published.name}' has a prompt template or a profile of its owner's, and takes"
            " neither 'raw' nor 'suffix'.",
            param="raw",
        )


async def _load(
    exchange: Exchange, connection: Connection, desk: GatewayDesk, asked: Loading
) -> None:
    """Have a model loaded. One that a client wants unloaded stays: others use it, and when it
    goes is the owner's to say.
    """
    name = known_name(desk.live.routes, asked.model)
    exchange.model = name
    course = Course(exchange, desk, name)
    dropped: tuple[str, ...] = ()
    if asked.unload:
        course.next()
        dropped = ("keep_alive",)
    else:
        await _wake(exchange, desk, course)
    desk.answer(exchange, connection, loaded(asked, desk.clock.now()), dropped)


async def _wake(exchange: Exchange, desk: GatewayDesk, course: Course) -> None:
    """Load the model at the first engine that can. A target that is awake is loaded, but for
    Ollama's, which loads when it is asked.
    """
    while True:
        live = course.next()
        try:
            with Asking(exchange, desk) as asking:
                target = asking.use(live) or await asking.woken(live)
                call = load_call(target)
                if call is not None:
                    await asking.ask(call, END)
                    asking.result(CODECS[target.dialect])
            break
        except Refusal as refusal:
            if not course.failed(live, refusal):
                course.note(live, ())
                raise
    course.note(live, ())


async def _embed(
    exchange: Exchange, connection: Connection, desk: GatewayDesk, asked: Embedding
) -> None:
    name = known_name(desk.live.routes, asked.model)
    request = asked.request
    if request is None:
        exchange.model = name
        Course(exchange, desk, name).next()
        desk.answer(exchange, connection, embeddings_answer(asked, [], None, 0.0), asked.owners)
        return
    began = desk.clock.now()

    def call(target: Target) -> EngineCall:
        return asked.native(target) or CODECS[target.dialect].embeddings(request, target)

    def read(target: Target, body: bytes) -> EngineAnswer:
        if target.dialect == "ollama":
            vectors, usage = vectors_of_ollama(asked, target, body)
        else:
            answer = CODECS[target.dialect].embeddings_answer(request, target, body)
            vectors, usage = vectors_of_openai(answer.body), answer.usage
        took = desk.clock.now() - began
        return EngineAnswer(embeddings_answer(asked, vectors, usage, took), usage)

    course = Course(exchange, desk, name)
    await answer_whole(exchange, connection, desk, course, call, read)
