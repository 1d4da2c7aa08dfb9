"""Errors as OpenAI's clients read them."""

from __future__ import annotations

import msgspec

from flm.errors import Refusal

_encode = msgspec.json.Encoder().encode


def error_body(error: Refusal) -> bytes:
    """`{"error":{"message","type","code","param"}}`."""
    return _encode(
        {
            "error": {
                "message": error.message,
                "type": error.kind,
                "code": error.code,
                "param": error.param,
            }
        }
    )


def error_event(error: Refusal) -> bytes:
    """The same as a server-sent event: clients raise it when it comes in mid-stream."""
    return b"data: " + error_body(error) + b"\n\n"
