"""Errors as OpenAI's clients read them."""

from __future__ import annotations

import msgspec

from flm.errors import Refusal

_encode = msgspec.json.Encoder().encode


def error_object(error: Refusal) -> dict[str, str | None]:
    """`{"message","type","code","param"}`."""
    return {
        "message": error.message,
        "type": error.kind,
        "code": error.code,
        "param": error.param,
    }


class OpenAIForm:
    """`ClientForm` of chat completions, and of every route that is nobody's own."""

    stream_type = b"text/event-stream; charset=utf-8"
    ping = b": ping\n\n"

    def status(self, refusal: Refusal) -> int:
        """As it is."""
        return refusal.status

    def error(self, refusal: Refusal, request_id: str) -> bytes:
        """`{"error":{"message","type","code","param"}}`; the id stands in a header."""
        del request_id
        return _encode({"error": error_object(refusal)})

    def broken(self, refusal: Refusal, request_id: str) -> bytes:
        """The same as a server-sent event: clients raise it when it comes in mid-stream."""
        return b"data: " + self.error(refusal, request_id) + b"\n\n"
