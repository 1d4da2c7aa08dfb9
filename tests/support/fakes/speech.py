"""What fakes that speak OpenAI's API answer, in the forms that were recorded of each engine.

They all say the same words, call the same tool and embed to the same vector.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from support.fakes.base import as_json, asked_for, event, stream
from support.replay import Answer, Seen

TEXTS = ("Grüße", " aus", " 東京", " 😀.")
TEXT = "".join(TEXTS)
TOOL = "get_weather"
ARGUMENTS: Mapping[str, object] = MappingProxyType({"city": "東京"})
VECTOR = (0.5, -0.25, 0.75)
VECTOR_BASE64 = "AAAAPwAAgL4AAEA/"
TOKENS = 13
_ARGUMENTS = '{"city": "東京"}'
CREATED = 1_795_218_518


@dataclass(frozen=True)
class Speech:
    """How one engine words it. ``first``: the delta of a stream's first event; ``message``:
    what its whole messages hold besides; ``extra``: what all its answers hold besides;
    ``whole_calls``: a tool call comes in one event; ``spaced``: JSON with spaces, as Python's
    `json.dumps` makes it; ``headers``: of its responses."""

    model: str
    first: Mapping[str, object]
    message: Mapping[str, object] = field(default_factory=dict)
    extra: Mapping[str, object] = field(default_factory=dict)
    whole_calls: bool = False
    spaced: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)

    def chat(self, request: Seen) -> Answer:
        """A whole or a streamed answer: the words, or a tool call where tools are offered."""
        asked = asked_for(request)
        calls = bool(asked.get("tools"))
        if asked.get("stream"):
            options = asked.get("stream_options")
            usage = isinstance(options, dict) and options.get("include_usage") is True
            events = [self._event(each) for each in self._chunks(calls, usage)]
            return stream([*events, event("[DONE]")], **self.headers)
        message = {"role": "assistant", "content": TEXT, **self.message}
        if calls:
            message |= {"content": None, "tool_calls": [_call(_ARGUMENTS)]}
        choice = {"index": 0, "message": message, "logprobs": None,
                  "finish_reason": "tool_calls" if calls else "stop"}  # fmt: skip
        answer = {**self._frame("chat.completion"), "choices": [choice], "usage": USAGE}
        return Answer(as_json(answer, **self.headers))

    def embeddings(self, request: Seen) -> Answer:
        """`VECTOR` for each text, in base64 where that was asked for."""
        asked = asked_for(request)
        given = asked.get("input")
        count = len(given) if isinstance(given, list) else 1
        vector: object = list(VECTOR)
        if asked.get("encoding_format") == "base64":
            vector = base64.b64encode(struct.pack(f"<{len(VECTOR)}f", *VECTOR)).decode()
        data = [{"object": "embedding", "index": at, "embedding": vector} for at in range(count)]
        usage = {"prompt_tokens": 3, "total_tokens": 3}
        body = {"object": "list", "model": self.model, "data": data, "usage": usage}
        return Answer(as_json(body, **self.headers))

    def _chunks(self, calls: bool, usage: bool) -> list[dict[str, object]]:
        deltas = [*self.first_and(calls)]
        chunks = [self._chunk(delta, None) for delta in deltas]
        chunks.append(self._chunk({}, "tool_calls" if calls else "stop"))
        if usage:
            chunks.append({**self._frame("chat.completion.chunk"), "choices": [], "usage": USAGE})
        return chunks

    def first_and(self, calls: bool) -> list[Mapping[str, object]]:
        """The deltas: the first one, and what is said or called."""
        if not calls:
            return [self.first, *({"content": text} for text in TEXTS)]
        if self.whole_calls:
            return [self.first, {"tool_calls": [{"index": 0, **_call(_ARGUMENTS)}]}]
        parts = (_ARGUMENTS[:5], _ARGUMENTS[5:])
        begun = {"tool_calls": [{"index": 0, **_call("")}]}
        rest = ({"tool_calls": [{"index": 0, "function": {"arguments": part}}]} for part in parts)
        return [self.first, begun, *rest]

    def _frame(self, kind: str) -> dict[str, object]:
        return {"id": "chatcmpl-fake1", "object": kind, "created": CREATED, "model": self.model,
                **self.extra}  # fmt: skip

    def _chunk(self, delta: Mapping[str, object], end: str | None) -> dict[str, object]:
        choice = {"index": 0, "delta": dict(delta), "logprobs": None, "finish_reason": end}
        return {**self._frame("chat.completion.chunk"), "choices": [choice]}

    def _event(self, document: Mapping[str, object]) -> bytes:
        if self.spaced:
            return event(document)
        return event(json.dumps(document, ensure_ascii=False, separators=(",", ":")))


USAGE = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": TOKENS}


def _call(arguments: str) -> dict[str, object]:
    return {"id": "call_1", "type": "function", "function": {"name": TOOL, "arguments": arguments}}
