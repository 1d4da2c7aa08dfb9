"""What kind of body comes: JSON, and how it is encoded."""

from __future__ import annotations

from flm.errors import Refusal
from flm.gateway.edge.coding import codings_of
from flm.gateway.exchange import Exchange
from flm.gateway.live import Live


def content_guard(exchange: Exchange, live: Live) -> None:
    """Raise 415 for a body that is not JSON, or encoded in a way that is not understood.

    A missing content type is taken for JSON. The codings to take off are noted.
    """
    del live
    request = exchange.request
    assert request is not None
    if request.method != b"POST":
        return
    values = request.values
    kind = values.get(b"content-type")
    route = exchange.route
    if route is not None and route.content == "multipart":
        _check_form(kind, values.get(b"content-encoding"))
    elif kind is not None and kind != b"application/json":
        name = kind.partition(b";")[0].strip().lower()
        # Ollama's documents send JSON by `curl -d`, which calls it a form; Ollama does not look.
        as_form = name == b"application/x-www-form-urlencoded" and exchange.dialect == "ollama"
        if name != b"application/json" and not name.endswith(b"+json") and not as_form:
            raise Refusal(
                415,
                "unsupported_media_type",
                "This route takes JSON: send 'content-type: application/json'.",
            )
    if b"content-encoding" in values:
        exchange.codings = codings_of(request.all(b"content-encoding"))
    expected = values.get(b"expect")
    if expected is not None and expected.lower() != b"100-continue":
        raise Refusal(417, "expectation_failed", "Only 'Expect: 100-continue' is understood.")


def _check_form(kind: bytes | None, coding: bytes | None) -> None:
    if kind is None or kind.partition(b";")[0].strip().lower() != b"multipart/form-data":
        raise Refusal(
            415,
            "unsupported_media_type",
            "This route takes a file: send 'content-type: multipart/form-data'.",
        )
    if coding is not None and coding.strip().lower() not in (b"", b"identity"):
        raise Refusal(
            415,
            "unsupported_encoding",
            "Files are passed on while they arrive: send the form unencoded.",
        )
