"""Errors as clients of the Responses API read them."""

from __future__ import annotations

import msgspec

from flm.dialects.openai_errors import OpenAIForm
from flm.errors import Refusal

_encode = msgspec.json.Encoder().encode


class ResponsesForm(OpenAIForm):
    """As OpenAI's, but that a broken stream says so in an event with a name."""

    def broken(self, refusal: Refusal, request_id: str) -> bytes:
        """`event: error`, the one event of the API that stands outside its numbering."""
        del request_id
        said = {
            "type": "error",
            "code": refusal.code,
            "message": refusal.message,
            "param": refusal.param,
        }
        return b"event: error\ndata: " + _encode(said) + b"\n\n"
