"""Messages requests, OpenAI's chunks to go with them, and what Anthropic's events add up to."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from flm.dialects.client_anthropic.conversation import MessagesConversation, parse_messages
from flm.dialects.codec import StreamReader
from flm.dialects.conversation import Stamp, StreamWriter
from flm.domain.policy import Policy
from flm.wire.snapshot import Target

TRANSCRIPTS = Path(__file__).parents[2] / "transcripts"
LLAMACPP = "llamacpp-xllamacpp-2026.10"
VLLM = "vllm-0.32.0-cpu"
OLLAMA = "ollama-0.33.0-rc2"

STAMP = Stamp("req_7", 1700000000.0)
NATIVE = Target(
    id="e/tiny-llama",
    engine="e",
    model="tiny-llama",
    dialect="openai",
    host="h",
    port=1,
    native=("chat", "messages", "count_tokens", "tokenize"),
)
TOOL = {"name": "f", "description": "d", "input_schema": {"type": "object"}}


def body(**fields: Any) -> bytes:
    """A request with these fields; model `mine`, 9 tokens and one message unless given."""
    whole = {
        "model": "mine",
        "max_tokens": 9,
        "messages": [{"role": "user", "content": "hi"}],
        **fields,
    }
    return json.dumps(whole, ensure_ascii=False).encode()


def parsed(policy: Policy | None = None, **fields: Any) -> MessagesConversation:
    """The conversation of such a request."""
    return parse_messages(body(**fields), policy or Policy())


def openai_fields(**fields: Any) -> dict[str, Any]:
    """Such a request in OpenAI's words."""
    return {name: json.loads(bytes(raw)) for name, raw in parsed(**fields).chat.fields.items()}


def recorded(engine: str, name: str) -> list[bytes]:
    """The pieces of a recorded answer's body: its chunks, or the whole."""
    data = (TRANSCRIPTS / engine / f"{name}.response.http").read_bytes()
    head, _, rest = data.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" not in head.lower():
        return [rest]
    pieces = []
    while True:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size, 16)
        if length == 0:
            return pieces
        pieces.append(rest[:length])
        rest = rest[length + 2 :]


def chunk(finish: str | None = None, **delta: Any) -> bytes:
    """An event of OpenAI's with that delta."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    said = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [choice]}
    return b"data: " + json.dumps(said, ensure_ascii=False).encode() + b"\n\n"


def call_delta(index: int, arguments: str, **more: Any) -> dict[str, Any]:
    """A piece of a tool call; its name among `more` where it begins."""
    name = more.pop("name", None)
    function = {"arguments": arguments} | ({"name": name} if name else {})
    return {"index": index, "function": function, **more}


def events(sent: bytes) -> list[dict[str, Any]]:
    """The events, each with a name that is its type."""
    found = []
    for event in sent.decode().split("\n\n"):
        if event:
            name, data = event.split("\n")
            said = json.loads(data.removeprefix("data: "))
            assert name == f"event: {said['type']}"
            found.append(said)
    return found


def message_of(found: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The message that events add up to, as Anthropic's documents say: in order, one block after
    the other, every one closed.
    """
    first, *rest = found
    assert first["type"] == "message_start"
    message: dict[str, Any] = first["message"]
    pieces: list[str] = []
    is_open = False
    for event in rest:
        kind = event["type"]
        if kind == "content_block_start":
            assert not is_open
            assert event["index"] == len(message["content"])
            is_open, pieces = True, []
            message["content"].append(event["content_block"])
        elif kind == "content_block_delta":
            assert is_open
            assert event["index"] == len(message["content"]) - 1
            _add(message["content"][-1], event["delta"], pieces)
        elif kind == "content_block_stop":
            assert event["index"] == len(message["content"]) - 1
            is_open = False
            if pieces:
                message["content"][-1]["input"] = json.loads("".join(pieces))
        elif kind == "message_delta":
            message |= event["delta"]
            message["usage"] |= event["usage"]
    assert not is_open
    assert rest[-1] == {"type": "message_stop"}
    return message


def _add(block: dict[str, Any], delta: dict[str, Any], pieces: list[str]) -> None:
    kind = delta["type"]
    if kind == "input_json_delta":
        pieces.append(delta["partial_json"])
    else:
        name = kind.removesuffix("_delta")
        block[name] += delta[name]


def streamed(stream: StreamReader, pieces: Iterable[bytes]) -> bytes:
    """All that a client gets of a stream that goes well."""
    sent = b"".join([stream.feed(piece) for piece in pieces])
    stream.end()
    return sent + stream.tail


def written(writer: StreamWriter, pieces: Iterable[bytes], usage: Any = None) -> bytes:
    """All that a writer makes of whole events."""
    return b"".join([writer.feed(piece) for piece in pieces]) + writer.end(usage)
