"""All routes there are."""

from __future__ import annotations

from flm.gateway.endpoints.chat import chat_completions
from flm.gateway.endpoints.embeddings import embeddings
from flm.gateway.endpoints.health import health
from flm.gateway.endpoints.models import list_models, show_model
from flm.gateway.endpoints.options import options
from flm.gateway.endpoints.responses import (
    cancel_response,
    forget_response,
    responses,
    show_response,
)
from flm.gateway.endpoints.well_known import well_known
from flm.gateway.routes import BODY_LIMIT, Route, RouteTable


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
            *_responses(),
        ],
        options=Route("*", b"OPTIONS", b"*", "public", options, journalled=False),
    )


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
