"""The acting engines: servers of OpenAI's and of Ollama's API that give `clients_stage`'s play."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from clients_stage import (
    COMPLETION_TOKENS,
    PROMPT_TOKENS,
    ROLES,
    TEXT,
    Asked,
    Call,
    Said,
    answer,
)

from support import engines
from support.fakes.base import FakeEngine, as_json, asked_for, dropped, event, instead, line, stream
from support.replay import Answer, Reply, Seen

VECTOR = (0.5, -0.25, 0.75)
CREATED = 1_795_218_518
USAGE = {
    "prompt_tokens": PROMPT_TOKENS,
    "completion_tokens": COMPLETION_TOKENS,
    "total_tokens": PROMPT_TOKENS + COMPLETION_TOKENS,
    "prompt_tokens_details": {"cached_tokens": 5},
    "completion_tokens_details": {"reasoning_tokens": 2},
}


class ActingEngine(FakeEngine):
    """An engine whose models are `ROLES`, and which can be made to refuse.

    ``chat``: the path its chats come to; ``refusals``: what the next chats are answered instead.
    """

    chat = "/v1/chat/completions"

    def __init__(self, routes: dict[tuple[str, str], Reply]) -> None:
        super().__init__(routes)
        self.refusals: list[bytes] = []

    @property
    def chats(self) -> list[dict[str, Any]]:
        """The bodies of the chats that arrived."""
        return [dict(asked_for(seen)) for seen in self.asked(self.chat)]

    def answer(self, request: Seen) -> Answer:
        """A refusal while there are some, else what the play says."""
        if request.path == self.chat and self.refusals:
            return instead(self.refusals.pop(0))(Answer(b""))
        return super().answer(request)


def _texts(content: object) -> str:
    """The text of a message in either form of its content."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "".join(part.get("text") or "" for part in parts)


def _tools(asked: dict[str, Any]) -> tuple[str, ...]:
    return tuple(tool["function"]["name"] for tool in asked.get("tools") or ())


def _results(messages: list[dict[str, Any]]) -> tuple[str, ...]:
    """What the tools answered since somebody else spoke last."""
    found: list[str] = []
    for message in reversed(messages):
        if message["role"] != "tool":
            break
        found.insert(0, _texts(message["content"]))
    return tuple(found)


def _question(messages: list[dict[str, Any]]) -> str:
    said = [_texts(each["content"]) for each in messages if each["role"] == "user"]
    return said[-1] if said else ""


# OpenAI's API (platform.openai.com/docs/api-reference/chat), reasoning as vLLM and DeepSeek add it.


class OpenAiActor(ActingEngine):
    """A server of OpenAI's chat completions and embeddings."""

    def __init__(self) -> None:
        models = [{"id": name, "object": "model", "owned_by": "stage"} for name in ROLES]
        super().__init__(
            {
                ("GET", "/v1/models"): as_json({"object": "list", "data": models}),
                ("POST", self.chat): self._chat,
                ("POST", "/v1/embeddings"): self._embeddings,
            }
        )

    def _chat(self, request: Seen) -> Answer:
        asked: dict[str, Any] = dict(asked_for(request))
        said = answer(_openai_asked(asked))
        logprobs = asked.get("logprobs") is True
        if not asked.get("stream"):
            return Answer(as_json(_completion(asked["model"], said, logprobs)))
        usage = (asked.get("stream_options") or {}).get("include_usage") is True
        chunks = [event(each) for each in _chunks(asked["model"], said, logprobs, usage)]
        made = stream([*chunks, event("[DONE]")])
        return dropped(after=3)(made) if asked["model"] == "breaker" else made

    def _embeddings(self, request: Seen) -> bytes:
        asked = asked_for(request)
        given = asked.get("input")
        count = len(given) if isinstance(given, list) else 1
        data = [
            {"object": "embedding", "index": at, "embedding": list(VECTOR)} for at in range(count)
        ]
        usage = {"prompt_tokens": 3, "total_tokens": 3}
        return as_json({"object": "list", "model": asked["model"], "data": data, "usage": usage})


def _openai_asked(asked: dict[str, Any]) -> Asked:
    messages = asked["messages"]
    last = messages[-1]["content"]
    images = [part for part in last if part["type"] == "image_url"] if type(last) is list else []
    form = (asked.get("response_format") or {}).get("type")
    return Asked(
        asked["model"],
        _question(messages),
        _tools(asked),
        _results(messages),
        len(images),
        form == "json_schema",
    )


def _openai_call(call: Call, arguments: str) -> dict[str, Any]:
    function = {"name": call.name, "arguments": arguments}
    return {"id": call.id, "type": "function", "function": function}


def _logprobs(piece: str) -> dict[str, Any]:
    token = {"token": piece, "logprob": -0.25, "bytes": list(piece.encode()), "top_logprobs": []}
    return {"content": [token], "refusal": None}


def _completion(model: str, said: Said, logprobs: bool) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": said.text or None, "refusal": None}
    if said.thoughts:
        message["reasoning_content"] = "".join(said.thoughts)
    if said.refusal:
        message["refusal"] = said.refusal
    if said.calls:
        message["tool_calls"] = [_openai_call(call, call.text) for call in said.calls]
    choice = {
        "index": 0,
        "message": message,
        "logprobs": _logprobs(said.text) if logprobs else None,
        "finish_reason": "tool_calls" if said.calls else "stop",
    }
    return {**_frame(model, "chat.completion"), "choices": [choice], "usage": USAGE}


def _chunks(model: str, said: Said, logprobs: bool, usage: bool) -> Iterable[dict[str, Any]]:
    frame = _frame(model, "chat.completion.chunk")

    def chunk(delta: dict[str, Any], end: str | None = None, sure: Any = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": sure, "finish_reason": end}
        return {**frame, "choices": [choice]}

    yield chunk({"role": "assistant", "content": ""})
    for thought in said.thoughts:
        yield chunk({"reasoning_content": thought})
    if said.refusal:
        yield chunk({"refusal": said.refusal})
    for piece in said.pieces:
        yield chunk({"content": piece}, sure=_logprobs(piece) if logprobs else None)
    for index, call in enumerate(said.calls):
        yield chunk({"tool_calls": [{"index": index, **_openai_call(call, "")}]})
        for part in (call.text[:7], call.text[7:]):
            yield chunk({"tool_calls": [{"index": index, "function": {"arguments": part}}]})
    yield chunk({}, "tool_calls" if said.calls else "stop")
    if usage:
        yield {**frame, "choices": [], "usage": USAGE}


def _frame(model: str, kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-stage", "object": kind, "created": CREATED, "model": model}


# Ollama's API (docs/api.md of 0.33.0).

NOW = "2026-11-21T11:46:24.000000000Z"


class OllamaActor(ActingEngine):
    """An Ollama. It does not know refusals: the refuser's is its text."""

    chat = "/api/chat"

    def __init__(self) -> None:
        running = engines.ollama(
            tags=as_json({"models": [_tag(name, able) for name, able in ROLES.items()]}),
            ps=as_json({"models": []}),
        )
        super().__init__(
            {
                **running,
                ("POST", "/api/show"): self._show,
                ("POST", self.chat): self._chat,
                ("POST", "/api/generate"): self._generate,
                ("POST", "/api/embed"): self._embed,
            }
        )

    def _show(self, request: Seen) -> bytes:
        name = str(asked_for(request)["model"]).removesuffix(":latest")
        return as_json({"capabilities": ROLES[name], "details": _DETAILS, "model_info": {}})

    def _embed(self, request: Seen) -> bytes:
        asked = asked_for(request)
        given = asked["input"]
        count = len(given) if isinstance(given, list) else 1
        return as_json(
            {"model": asked["model"], "embeddings": [VECTOR] * count, "prompt_eval_count": 3}
        )

    def _generate(self, request: Seen) -> bytes:
        asked: dict[str, Any] = dict(asked_for(request))
        assert asked["stream"] is False
        end = {"done": True, "done_reason": "stop", "prompt_eval_count": 9, "eval_count": 4}
        return as_json({"model": asked["model"], "created_at": NOW, "response": TEXT, **end})

    def _chat(self, request: Seen) -> bytes | Answer:
        asked: dict[str, Any] = dict(asked_for(request))
        said = answer(_ollama_asked(asked))
        start = {"model": asked["model"], "created_at": NOW}
        end = {
            "done": True,
            "done_reason": "stop",
            "prompt_eval_count": PROMPT_TOKENS,
            "eval_count": COMPLETION_TOKENS,
        }
        messages = list(_ollama_messages(said, bool(asked.get("think"))))
        if asked.get("stream") is False:
            return as_json({**start, "message": _joined(messages), **end})
        lines = [{**start, "message": each, "done": False} for each in messages]
        last = {**start, "message": {"role": "assistant", "content": ""}, **end}
        made = stream(map(line, [*lines, last]), "application/x-ndjson")
        return dropped(after=2)(made) if asked["model"].startswith("breaker") else made


_DETAILS = {
    "parent_model": "",
    "format": "gguf",
    "family": "llama",
    "families": ["llama"],
    "parameter_size": "1B",
    "quantization_level": "Q4_0",
}


def _tag(name: str, able: tuple[str, ...]) -> dict[str, Any]:
    return {
        "name": f"{name}:latest",
        "model": f"{name}:latest",
        "modified_at": NOW,
        "size": 519_928,
        "digest": "6a" * 32,
        "details": {**_DETAILS, "context_length": 131_072},
        "capabilities": able,
    }


def _ollama_asked(asked: dict[str, Any]) -> Asked:
    messages = asked["messages"]
    return Asked(
        asked["model"].removesuffix(":latest"),
        _question(messages),
        _tools(asked),
        _results(messages),
        len(messages[-1].get("images") or ()),
        isinstance(asked.get("format"), dict),
    )


def _ollama_messages(said: Said, think: bool) -> Iterable[dict[str, Any]]:
    for thought in said.thoughts if think else ():
        yield {"role": "assistant", "content": "", "thinking": thought}
    for piece in said.pieces or ((said.refusal,) if said.refusal else ()):
        yield {"role": "assistant", "content": piece}
    for index, call in enumerate(said.calls):
        function = {"index": index, "name": call.name, "arguments": call.arguments}
        yield {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": call.id, "function": function}],
        }


def _joined(messages: list[dict[str, Any]]) -> dict[str, Any]:
    """The same in one message."""
    whole: dict[str, Any] = {"role": "assistant", "content": ""}
    for message in messages:
        whole["content"] += message["content"]
        if "thinking" in message:
            whole["thinking"] = whole.get("thinking", "") + message["thinking"]
        whole.setdefault("tool_calls", []).extend(message.get("tool_calls", []))
    return {name: value for name, value in whole.items() if value or name == "content"}


def refusal(status: str, document: object, **headers: str) -> bytes:
    """An engine's refusal with header fields of its own (`Retry_After`)."""
    return as_json(json.loads(json.dumps(document)), status, **headers)
