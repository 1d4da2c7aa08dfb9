"""Errors as Ollama's clients read them."""

from __future__ import annotations

import msgspec

from flm.errors import Refusal

_encode = msgspec.json.Encoder().encode


class OllamaForm:
    """`ClientForm` of Ollama's API. Its streams are lines; none may be empty (Zed fails at one)."""

    stream_type = b"application/x-ndjson"
    ping = b""

    def status(self, refusal: Refusal) -> int:
        """As it is."""
        return refusal.status

    def error(self, refusal: Refusal, request_id: str) -> bytes:
        """`{"error":"…"}`."""
        del request_id
        return _encode({"error": refusal.message})

    def broken(self, refusal: Refusal, request_id: str) -> bytes:
        """The same as a line: Ollama's own clients raise it in mid-stream."""
        return self.error(refusal, request_id) + b"\n"
