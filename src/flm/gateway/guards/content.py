"""What kind of body comes: JSON, unencoded."""

from __future__ import annotations

from flm.errors import Refusal
from flm.gateway.exchange import Exchange
from flm.gateway.live import Live


def content_guard(exchange: Exchange, live: Live) -> None:
    """Raise 415 for a body that is not plain JSON. A missing content type is taken for JSON."""
    del live
    request = exchange.request
    assert request is not None
    if request.method != b"POST":
        return
    values = request.values
    kind = values.get(b"content-type")
    if kind is not None and kind != b"application/json":
        name = kind.partition(b";")[0].strip().lower()
        if name != b"application/json" and not name.endswith(b"+json"):
            raise Refusal(
                415,
                "unsupported_media_type",
                "This route takes JSON: send 'content-type: application/json'.",
            )
    coding = values.get(b"content-encoding")
    if coding is not None and coding.strip().lower() not in (b"", b"identity"):
        raise Refusal(
            415,
            "unsupported_encoding",
            "Compressed request bodies are not understood here: send the body unencoded.",
        )
    expected = values.get(b"expect")
    if expected is not None and expected.lower() != b"100-continue":
        raise Refusal(417, "expectation_failed", "Only 'Expect: 100-continue' is understood.")
