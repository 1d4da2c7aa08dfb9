"""All routes there are."""

from __future__ import annotations

from flm.gateway.endpoints.audio import AUDIO_LIMIT, transcriptions, translations
from flm.gateway.endpoints.chat import chat_completions
from flm.gateway.endpoints.completions import completions
from flm.gateway.endpoints.embeddings import embeddings
from flm.gateway.endpoints.health import health
from flm.gateway.endpoints.images import images
from flm.gateway.endpoints.messages import count_tokens, messages
from flm.gateway.endpoints.models import list_models, show_model
from flm.gateway.endpoints.ollama_routes import ollama_routes
from flm.gateway.endpoints.options import options
from flm.gateway.endpoints.rerank import rerank
from flm.gateway.endpoints.responses import (
    cancel_response,
    forget_response,
    responses,
    show_response,
)
from flm.gateway.endpoints.speech import speech
from flm.gateway.endpoints.well_known import well_known
from flm.gateway.routes import BODY_LIMIT, Endpoint, Route, RouteTable


def route_table() -> RouteTable:
    """The table of this version. A route that names no permission stops the start."""
    return RouteTable(
        [
            Route("/health", b"GET", b"/health", "public", health, journalled=False),
            Route(
                "/.well-known/flm",
                b"GET",
                b"/.well-known/flm",
                "public",
                well_known,
                journalled=False,
            ),
            Route("/v1/models", b"GET", b"/v1/models", "inference", list_models),
            Route("/v1/models/{id}", b"GET", b"/v1/models/", "inference", show_model, prefix=True),
            Route(
                "/v1/chat/completions",
                b"POST",
                b"/v1/chat/completions",
                "inference",
                chat_completions,
                BODY_LIMIT,
            ),
            Route(
                "/v1/embeddings",
                b"POST",
                b"/v1/embeddings",
                "inference",
                embeddings,
                BODY_LIMIT,
            ),
            *_others(),
            *_responses(),
            *_messages(),
            *ollama_routes(),
        ],
        options=Route("*", b"OPTIONS", b"*", "public", options, journalled=False),
    )


def _others() -> list[Route]:
    """What is no conversation, passed on to engines that can do it."""
    whole: list[tuple[bytes, Endpoint]] = [
        (b"/v1/completions", completions),
        (b"/v1/rerank", rerank),
        (b"/v1/images/generations", images),
        (b"/v1/audio/speech", speech),
    ]
    forms: list[tuple[bytes, Endpoint]] = [
        (b"/v1/audio/transcriptions", transcriptions),
        (b"/v1/audio/translations", translations),
    ]
    return [
        *(
            Route(path.decode(), b"POST", path, "inference", endpoint, BODY_LIMIT)
            for path, endpoint in whole
        ),
        *(
            Route(
                path.decode(),
                b"POST",
                path,
                "inference",
                endpoint,
                AUDIO_LIMIT,
                content="multipart",
            )
            for path, endpoint in forms
        ),
    ]


def _responses() -> list[Route]:
    """OpenAI's Responses, and what is kept of them."""
    one, behind = "/v1/responses/{id}", b"/v1/responses/"
    return [
        Route(
            "/v1/responses",
            b"POST",
            b"/v1/responses",
            "inference",
            responses,
            BODY_LIMIT,
            dialect="responses",
        ),
        Route(one, b"GET", behind, "inference", show_response, prefix=True, dialect="responses"),
        Route(
            one, b"DELETE", behind, "inference", forget_response, prefix=True, dialect="responses"
        ),
        Route(one, b"POST", behind, "inference", cancel_response, prefix=True, dialect="responses"),
    ]


def _messages() -> list[Route]:
    """Anthropic's Messages."""
    path = b"/v1/messages"
    count = path + b"/count_tokens"
    return [
        Route(
            "/v1/messages",
            b"POST",
            path,
            "inference",
            messages,
            BODY_LIMIT,
            dialect="anthropic",
        ),
        Route(
            "/v1/messages/count_tokens",
            b"POST",
            count,
            "inference",
            count_tokens,
            BODY_LIMIT,
            dialect="anthropic",
        ),
    ]
