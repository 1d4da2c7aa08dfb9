"""Engines of the end-to-end tests: words known beforehand, and one that waits when told to."""

from __future__ import annotations

import json
import threading
from typing import Any

from support import engines
from support.replay import TRANSCRIPTS, Answer, ReplayServer, Reply, Seen, response

SENTENCE = "Say it twice: 日本語のテスト、こんにちは世界。 Then 😀 and 🎉, at last the end."
WORDS = "Two other words."
ENDLESS = "On and on it goes."
QWEN = "Qwen/Qwen3-8B"

RECORDED = TRANSCRIPTS.parents[1] / "transcripts" / "ollama-0.33.0-rc2"


def ollama() -> dict[tuple[str, str], Reply]:
    """Ollama 0.33.0-rc2: what it answered to the same questions, by model and `stream`."""

    def chat(seen: Seen) -> bytes:
        asked = json.loads(seen.body)
        name = {
            ("scripted-think:latest", False): "chat-think",
            ("scripted-think:latest", True): "chat-think-stream",
            ("scripted-tools:latest", False): "chat-tools",
            ("scripted-tools:latest", True): "chat-tools-stream",
            ("tiny:latest", False): "chat-context-overflow-no-truncate",
            ("tiny:latest", True): "chat-stream-model-dies",
        }[asked["model"], asked["stream"]]
        return (RECORDED / f"{name}.response.http").read_bytes()

    return {
        **engines.ollama(),
        ("POST", "/api/chat"): chat,
        ("POST", "/api/embed"): (RECORDED / "embed.response.http").read_bytes(),
    }


class Switchboard(ReplayServer):
    """A server of OpenAI's API (platform.openai.com/docs/api-reference/chat) with the models
    `shared` and `slow`.

    `slow` streams "first " and waits until `go` is set for "last" and the end; asked without
    `stream` it waits before it answers. `shared` says "shared" at once. `waiting` counts the
    requests that reached `slow`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()
        self.routes = {
            ("GET", "/v1/models"): response(json.dumps({"object": "list", "data": _MODELS})),
            ("POST", "/v1/chat/completions"): self._chat,
        }

    @property
    def asked(self) -> list[dict[str, Any]]:
        """The bodies of the chats that arrived."""
        return [json.loads(seen.body) for seen in self.seen if seen.method == "POST"]

    @property
    def waiting(self) -> int:
        """How many requests `slow` was asked."""
        return sum(asked["model"] == "slow" for asked in self.asked)

    def close(self) -> None:
        """Let everybody go who waits."""
        self.go.set()
        super().close()

    def _chat(self, seen: Seen) -> bytes | Answer:
        asked = json.loads(seen.body)
        slow = asked["model"] == "slow"
        if not asked.get("stream"):
            said = response(json.dumps(_whole(asked["model"], "first last" if slow else "shared")))
            return Answer(said, hold=self.go if slow else None)
        words = ["first ", "last"] if slow else ["shared"]
        pieces = [_event(_chunk(asked["model"], word)) for word in words]
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
        last = _chunk(asked["model"], None, "stop")
        data = head + b"".join(pieces) + _event(last) + b"data: [DONE]\n\n"
        if not slow:
            return Answer(data, close=True)
        return Answer(data, hold_at=len(head + pieces[0]), resume=self.go, close=True)


_MODELS = [
    {"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "tests"}
    for name in ("shared", "slow")
]
_USAGE = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}


def _whole(model: str, said: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": said}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": model,
        "choices": [choice],
        "usage": _USAGE,
    }


def _chunk(model: str, said: str | None, finish: str | None = None) -> dict[str, Any]:
    delta = {} if said is None else {"role": "assistant", "content": said}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": model,
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }


def _event(document: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(document).encode() + b"\n\n"
