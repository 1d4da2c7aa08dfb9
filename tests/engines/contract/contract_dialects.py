"""How the contract suite speaks the clients' dialects other than OpenAI's chat."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pytest
from contract_talk import House, name_of

from support.fakes.specimen import Specimen
from support.raw_client import Response, ask, request

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}


class Told(NamedTuple):
    """What a client understood of an answer."""

    text: str
    call: tuple[str, Any] | None
    tokens: int
    reason: str


def events(body: bytes) -> list[dict[str, Any]]:
    """The data of every event that has some."""
    lines = body.replace(b"\r\n", b"\n").split(b"\n")
    return [json.loads(line[6:]) for line in lines if line.startswith(b"data: ")]


class Anthropic:
    """The Messages API."""

    path = "/v1/messages"
    stop, tool = "end_turn", "tool_use"

    def body(self, model: str, stream: bool, tools: bool) -> dict[str, Any]:
        """A request."""
        asked: dict[str, Any] = {
            "model": model,
            "max_tokens": 64,
            "stream": stream,
            "messages": [{"role": "user", "content": "hi"}],
        }
        if tools:
            asked["tools"] = [{"name": "get_weather", "input_schema": SCHEMA}]
        return asked

    def whole(self, found: dict[str, Any]) -> Told:
        """A message."""
        text = "".join(block.get("text", "") for block in found["content"])
        calls = [
            (block["name"], block["input"])
            for block in found["content"]
            if block["type"] == "tool_use"
        ]
        usage = found["usage"]
        tokens = usage["input_tokens"] + usage["output_tokens"]
        tokens += usage.get("cache_read_input_tokens") or 0
        return Told(text, calls[0] if calls else None, tokens, found["stop_reason"])

    def streamed(self, body: bytes) -> Told:
        """Its events, put together as the SDK does."""
        message: dict[str, Any] = {}
        inputs: dict[int, str] = {}
        for event in events(body):
            if event["type"] == "message_start":
                message = event["message"]
            elif event["type"] == "content_block_start":
                assert event["index"] == len(message["content"])
                message["content"].append(event["content_block"])
            elif event["type"] == "content_block_delta":
                delta, index = event["delta"], event["index"]
                if delta["type"] == "text_delta":
                    message["content"][index]["text"] += delta["text"]
                elif delta["type"] == "input_json_delta":
                    inputs[index] = inputs.get(index, "") + delta["partial_json"]
            elif event["type"] == "message_delta":
                message["usage"] |= {k: v for k, v in event["usage"].items() if v is not None}
                message["stop_reason"] = event["delta"]["stop_reason"]
        for index, text in inputs.items():
            message["content"][index]["input"] = json.loads(text or "{}")
        assert events(body)[-1]["type"] == "message_stop"
        return self.whole(message)

    def error(self, found: dict[str, Any]) -> str:
        """Its words."""
        assert found["type"] == "error"
        return str(found["error"]["message"])


class Responses:
    """OpenAI's Responses."""

    path = "/v1/responses"
    stop, tool = "completed", "completed"

    def body(self, model: str, stream: bool, tools: bool) -> dict[str, Any]:
        """A request."""
        asked: dict[str, Any] = {"model": model, "input": "hi", "stream": stream, "store": False}
        if tools:
            asked["tools"] = [{"type": "function", "name": "get_weather", "parameters": SCHEMA}]
        return asked

    def whole(self, found: dict[str, Any]) -> Told:
        """A response."""
        parts = [
            part.get("text", "")
            for item in found["output"]
            if item["type"] == "message"
            for part in item["content"]
        ]
        calls = [
            (item["name"], json.loads(item["arguments"]))
            for item in found["output"]
            if item["type"] == "function_call"
        ]
        call = calls[0] if calls else None
        return Told("".join(parts), call, found["usage"]["total_tokens"], found["status"])

    def streamed(self, body: bytes) -> Told:
        """The deltas say what the last event says."""
        seen = events(body)
        assert [event["sequence_number"] for event in seen] == list(range(len(seen)))
        last = self.whole(seen[-1]["response"])
        deltas = [e["delta"] for e in seen if e["type"] == "response.output_text.delta"]
        assert "".join(deltas) == last.text
        return last

    def error(self, found: dict[str, Any]) -> str:
        """Its words."""
        return str(found["error"]["message"])


class Ollama:
    """Ollama's own API."""

    path = "/api/chat"
    stop, tool = "stop", "stop"

    def body(self, model: str, stream: bool, tools: bool) -> dict[str, Any]:
        """A request."""
        asked: dict[str, Any] = {
            "model": model,
            "stream": stream,
            "messages": [{"role": "user", "content": "hi"}],
        }
        if tools:
            function = {"name": "get_weather", "description": "", "parameters": SCHEMA}
            asked["tools"] = [{"type": "function", "function": function}]
        return asked

    def whole(self, found: dict[str, Any]) -> Told:
        """The last line, or the only one."""
        assert found["done"] is True
        calls = found["message"].get("tool_calls") or []
        functions = [(call["function"]["name"], call["function"]["arguments"]) for call in calls]
        tokens = found.get("prompt_eval_count", 0) + found.get("eval_count", 0)
        call = functions[0] if functions else None
        return Told(found["message"]["content"], call, tokens, found["done_reason"])

    def streamed(self, body: bytes) -> Told:
        """Line for line."""
        lines = [json.loads(line) for line in body.splitlines()]
        assert all(line["created_at"] and line["model"] for line in lines)
        last = lines[-1]
        last["message"]["content"] = "".join(line["message"]["content"] for line in lines)
        calls = [call for line in lines for call in line["message"].get("tool_calls") or ()]
        last["message"]["tool_calls"] = calls
        return self.whole(last)

    def error(self, found: dict[str, Any]) -> str:
        """Its words."""
        return str(found["error"])


DIALECTS = (Anthropic(), Responses(), Ollama())
Dialect = Anthropic | Responses | Ollama

in_each = pytest.mark.parametrize("dialect", DIALECTS, ids=lambda each: type(each).__name__)


def said(
    served: House, specimen: Specimen, dialect: Dialect, stream: bool = False, tools: bool = False
) -> Response:
    """A request in that dialect for the specimen's model."""
    body = json.dumps(dialect.body(name_of(specimen), stream, tools)).encode()
    return ask(served.gateway.port, request("POST", dialect.path, body=body))
