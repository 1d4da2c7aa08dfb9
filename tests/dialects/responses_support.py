"""What the tests of the Responses dialect share: requests, chat events, and reading streams."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from flm.dialects.client_responses.asked import parse_responses
from flm.dialects.client_responses.conversation import ResponsesConversation
from flm.dialects.client_responses.kept import KeptResponse
from flm.dialects.conversation import Stamp
from flm.domain.policy import Policy

STAMP = Stamp("req_abcd00000001", 1_700_000_000.0)
SEED = "abcd0000000160a24181e4000"


def conversation(
    *history: KeptResponse, policy: Policy | None = None, **fields: Any
) -> ResponsesConversation:
    """The request with these fields, `model` and a word of input where none is given."""
    body = json.dumps({"model": "m", "input": "hi", **fields}, ensure_ascii=False).encode()
    policy = policy or Policy()
    return ResponsesConversation(parse_responses(body, policy), policy, history)


def sent(made: ResponsesConversation) -> dict[str, Any]:
    """What an engine is asked, decoded."""
    return {name: msgspec.json.decode(raw) for name, raw in made.chat.fields.items()}


def messages(made: ResponsesConversation) -> list[dict[str, Any]]:
    """The messages an engine is asked with."""
    return list(sent(made)["messages"])


def chunk(finish: str | None = None, logprobs: Any = None, **delta: Any) -> bytes:
    """One event of a chat's stream."""
    choice = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
    return b"data: " + json.dumps({"choices": [choice]}, ensure_ascii=False).encode() + b"\n\n"


def tool_chunk(index: int, name: str | None, arguments: str, call_id: str | None = None) -> bytes:
    """One event that says a piece of a tool call."""
    function: dict[str, Any] = {"arguments": arguments}
    if name is not None:
        function["name"] = name
    call: dict[str, Any] = {"index": index, "function": function}
    if call_id is not None:
        call["id"] = call_id
    return chunk(tool_calls=[call])


def completion(finish: str = "stop", **message: Any) -> bytes:
    """A whole chat completion."""
    said = {"role": "assistant", "content": None, **message}
    choice = {"index": 0, "message": said, "finish_reason": finish, "logprobs": None}
    return json.dumps({"object": "chat.completion", "choices": [choice]}).encode()


def events_of(stream: bytes) -> list[dict[str, Any]]:
    """The events of a stream; each must say its name twice and stand alone."""
    found = []
    for block in stream.decode().split("\n\n")[:-1]:
        name, data = block.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        found.append(event)
    return found
