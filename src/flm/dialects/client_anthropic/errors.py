"""Errors as Anthropic's clients read them (their "Errors" page, 2026)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from flm.errors import EngineError, Refusal

_encode = msgspec.json.Encoder().encode

OVERLOADED = 529
_BUSY = frozenset({"overloaded", "engine_busy", "too_many_connections"})
_TYPES: Mapping[int, str] = MappingProxyType(
    {
        400: "invalid_request_error",
        401: "authentication_error",
        403: "permission_error",
        404: "not_found_error",
        413: "request_too_large",
        429: "rate_limit_error",
        504: "timeout_error",
        OVERLOADED: "overloaded_error",
    }
)


class AnthropicForm:
    """`ClientForm` of the Messages API."""

    stream_type = b"text/event-stream; charset=utf-8"
    ping = b'event: ping\ndata: {"type":"ping"}\n\n'

    def status(self, refusal: Refusal) -> int:
        """As it is, but for an engine that is full, which is 529 here."""
        busy = refusal.status == 503 and refusal.code in _BUSY
        return OVERLOADED if busy else refusal.status

    def error(self, refusal: Refusal, request_id: str) -> bytes:
        """`{"type":"error","error":{"type","message"},"request_id"}`."""
        status = self.status(refusal)
        usual = "invalid_request_error" if status < 500 else "api_error"
        kind = _TYPES.get(status, usual)
        said = {"type": kind, "message": _message(refusal)}
        return _encode({"type": "error", "error": said, "request_id": request_id})

    def broken(self, refusal: Refusal, request_id: str) -> bytes:
        """The same as an event, which the SDKs raise."""
        return b"event: error\ndata: " + self.error(refusal, request_id) + b"\n\n"


def _message(refusal: Refusal) -> str:
    """The sentence. Claude Code and others read from its first words that a prompt is too long,
    and shorten the conversation, or what they want of an answer: these are Anthropic's.
    """
    if refusal.code != "context_length_exceeded":
        return refusal.message
    overflow = refusal.overflow if isinstance(refusal, EngineError) else None
    if overflow is None:
        return f"prompt is too long. {refusal.message}"
    prompt, context, output, at_least = overflow
    if output and prompt < context and not at_least:
        counts = f"input length and `max_tokens` exceed context limit: {prompt} + {output}"
        return f"{counts} > {context}. {refusal.message}"
    # Of a prompt that was not counted to its end nobody knows how much shorter an answer would
    # have to be.
    return f"prompt is too long: {prompt + output} tokens > {context} maximum. {refusal.message}"
