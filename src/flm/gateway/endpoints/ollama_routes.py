"""Ollama's routes."""

from __future__ import annotations

from functools import partial

from flm.gateway.endpoints.ollama import chat, embed, embeddings, generate
from flm.gateway.endpoints.ollama_told import root, running, show, tags, unsupported, version
from flm.gateway.routes import BODY_LIMIT, Route

_UNSUPPORTED: tuple[tuple[bytes, str], ...] = (
    (b"POST", "/api/pull"),
    (b"POST", "/api/push"),
    (b"POST", "/api/create"),
    (b"POST", "/api/copy"),
    (b"DELETE", "/api/delete"),
    (b"POST", "/api/me"),
    (b"POST", "/api/signout"),
)


def ollama_routes() -> list[Route]:
    """Those that ask an engine, those that tell, and those that answer 501 with a reason.

    `/` and `/api/version` say the same to everybody, and need no key: clients ask them before
    they send one.
    """
    route = partial(Route, dialect="ollama")
    told = partial(route, permission="public", journalled=False)
    asked = partial(route, permission="inference", body_limit=BODY_LIMIT)
    return [
        told("/", b"GET", b"/", endpoint=root),
        told("/api/version", b"GET", b"/api/version", endpoint=version),
        route("/api/tags", b"GET", b"/api/tags", "inference", tags),
        route("/api/ps", b"GET", b"/api/ps", "inference", running),
        route("/api/show", b"POST", b"/api/show", "inference", show),
        asked("/api/chat", b"POST", b"/api/chat", endpoint=chat),
        asked("/api/generate", b"POST", b"/api/generate", endpoint=generate),
        asked("/api/embed", b"POST", b"/api/embed", endpoint=embed),
        asked("/api/embeddings", b"POST", b"/api/embeddings", endpoint=embeddings),
        *(
            route(path, method, path.encode(), "inference", unsupported)
            for method, path in _UNSUPPORTED
        ),
        *(
            route(
                "/api/blobs/{digest}", method, b"/api/blobs/", "inference", unsupported, prefix=True
            )
            for method in (b"GET", b"POST")  # and with GET, HEAD
        ),
    ]
