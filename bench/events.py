"""What the streaming engine says: an event of OpenAI's (SSE) or a line of Ollama's (NDJSON)."""

from __future__ import annotations

import json
import time
from typing import Protocol

MODEL = "bench"

MARK = b"~"
"""Stands exactly once in each streamed event, and nowhere else: events are counted by it."""

_HEAD = (
    "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncache-control: no-cache\r\n"
    "transfer-encoding: chunked\r\n\r\n"
)


def _framed(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def _compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


class Events(Protocol):
    """How an engine streams: a head, events, and an end."""

    head: bytes

    def event(self) -> bytes:
        """The next event, the same for all that are due now."""

    def done(self) -> bytes:
        """The end of a stream."""


class OpenAiEvents:
    """Chunks of a chat completion: the same one each time."""

    head = _HEAD.format(kind="text/event-stream").encode()

    def __init__(self) -> None:
        chunk = {
            "id": "chatcmpl-7f3a1c5e9b2d4f60",
            "object": "chat.completion.chunk",
            "created": 1763700000,
            "model": MODEL,
            "choices": [{"index": 0, "delta": {"content": " word~"}, "finish_reason": None}],
        }
        self._event = _framed(b"data: " + _compact(chunk) + b"\n\n")
        why = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
        self._done = _framed(why) + _framed(b"data: [DONE]\n\n") + b"0\r\n\r\n"

    def event(self) -> bytes:
        """A chunk with one word."""
        return self._event

    def done(self) -> bytes:
        """The reason, the end mark."""
        return self._done


class OllamaEvents:
    """Lines of `/api/chat`, each with the moment it was made, as Ollama writes them."""

    head = _HEAD.format(kind="application/x-ndjson").encode()

    def event(self) -> bytes:
        """A line with one word."""
        said = {"role": "assistant", "content": " word~"}
        line = {"model": TAG, "created_at": _moment(), "message": said, "done": False}
        return _framed(_compact(line) + b"\n")

    def done(self) -> bytes:
        """The last line, with what was counted."""
        return _framed(_compact(ollama_answer("")) + b"\n") + b"0\r\n\r\n"


TAG = f"{MODEL}:latest"
"""What Ollama calls the model."""


def ollama_answer(content: str) -> dict[str, object]:
    """A whole answer of `/api/chat`, or the end of a streamed one."""
    return {
        "model": TAG,
        "created_at": _moment(),
        "message": {"role": "assistant", "content": content},
        "done": True,
        "done_reason": "stop",
        "total_duration": 413095125,
        "load_duration": 21064292,
        "prompt_eval_count": 212,
        "prompt_eval_duration": 81095000,
        "eval_count": 41,
        "eval_duration": 310121000,
    }


def _moment() -> str:
    """Now as Go writes it: nanoseconds, without zeros at the end."""
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    fraction = f".{nanoseconds:09d}".rstrip("0").rstrip(".")
    return f"{whole}{fraction}Z"
