"""Requests of Ollama's clients, and what they read of answers."""

from __future__ import annotations

import json
from typing import Any

from dialects_recorded import OLLAMA_TARGET, OPENAI_TARGET

from flm.dialects.client_ollama.conversation import (
    OllamaConversation,
    parse_chat,
    parse_generate,
)
from flm.dialects.client_ollama.request import Loading
from flm.dialects.codec import StreamReader
from flm.dialects.conversation import Stamp
from flm.dialects.engine import CODECS
from flm.dialects.translated import TranslatedStream
from flm.domain.policy import Policy
from flm.errors import Refusal

STAMP = Stamp("req_1", 1700000000.0)
TARGETS = {"openai": OPENAI_TARGET, "ollama": OLLAMA_TARGET}
HELLO = [{"role": "user", "content": "hi"}]


def now() -> float:
    """Two seconds after the request came."""
    return 1700000002.0


def chat(policy: Policy | None = None, **fields: Any) -> OllamaConversation:
    """A request of `/api/chat` with these fields; model `mine` and one message unless given."""
    body = {"model": "mine", "messages": HELLO, **fields}
    asked = parse_chat(json.dumps(body).encode(), policy or Policy(), now)
    assert isinstance(asked, OllamaConversation)
    return asked


def generate(**fields: Any) -> OllamaConversation:
    """A request of `/api/generate` with these fields; model `mine` and a prompt unless given."""
    body = {"model": "mine", "prompt": "Once", **fields}
    asked = parse_generate(json.dumps(body).encode(), Policy(), now)
    assert isinstance(asked, OllamaConversation)
    return asked


def loading(path: str, **fields: Any) -> Loading:
    """A request without a prompt."""
    parse = parse_chat if path == "/api/chat" else parse_generate
    asked = parse(json.dumps({"model": "mine", **fields}).encode(), Policy(), now)
    assert isinstance(asked, Loading)
    return asked


def in_openai(asked: OllamaConversation) -> dict[str, Any]:
    """The fields an engine of OpenAI's dialect would get."""
    return {name: json.loads(bytes(raw)) for name, raw in asked.chat.fields.items()}


def refused(asked: Any, **fields: Any) -> tuple[int, str, str | None]:
    """Status, code and parameter of the refusal of such a request."""
    try:
        asked(**fields)
    except Refusal as refusal:
        return refusal.status, refusal.code, refusal.param
    raise AssertionError("it was not refused")


def reader(asked: OllamaConversation, dialect: str) -> StreamReader:
    """The stream of an engine that speaks `dialect`, translated for the client."""
    source = CODECS[dialect].chat_stream(asked.chat, TARGETS[dialect], 1700000000, "chatcmpl-x")
    return TranslatedStream(source, asked.writer(STAMP))


def lines(sent: bytes) -> list[dict[str, Any]]:
    """The JSON of each line; there is no other, and none is empty."""
    assert sent.endswith(b"\n")
    return [json.loads(line) for line in sent[:-1].split(b"\n")]


def without_times(line: dict[str, Any]) -> dict[str, Any]:
    """A line but for what a clock says."""
    return {
        name: value
        for name, value in line.items()
        if name != "created_at" and not name.endswith("_duration")
    }
