"""Errors as clients of the Responses API read them."""

from __future__ import annotations

import msgspec

from flm.dialects.openai_errors import OpenAIForm, error_object
from flm.errors import Refusal

_encode = msgspec.json.Encoder().encode


class ResponsesForm(OpenAIForm):
    """As OpenAI's, but that a broken stream says so in events with a name.

    `writer.ResponsesWriter.broken` says it better, with its numbers and all that was said before:
    this is for a stream of which nothing but pings was sent.
    """

    def broken(self, refusal: Refusal, request_id: str) -> bytes:
        """`error`, which SDKs raise, and `response.failed`, which Codex looks for."""
        said = {
            "type": "error",
            "sequence_number": 0,
            "code": refusal.code,
            "message": refusal.message,
            "param": refusal.param,
            "error": error_object(refusal),
        }
        failed = {
            "type": "response.failed",
            "sequence_number": 1,
            "response": {
                "id": "resp_" + request_id.removeprefix("req_"),
                "object": "response",
                "status": "failed",
                "error": {"code": refusal.code, "message": refusal.message},
                "output": [],
            },
        }
        return b"event: error\ndata: %b\n\nevent: response.failed\ndata: %b\n\n" % (
            _encode(said),
            _encode(failed),
        )
