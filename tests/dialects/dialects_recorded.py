"""Recorded answers of engines, without their HTTP framing, and requests to go with them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from flm.dialects.chat_parsing import parse_chat
from flm.dialects.engine import CODECS, StreamReader, Usage
from flm.dialects.openai_chat import ChatRequest
from flm.dialects.openai_embeddings import EmbeddingsRequest, parse_embeddings
from flm.domain.policy import Policy
from flm.errors import EngineError
from flm.wire.snapshot import Target

TRANSCRIPTS = Path(__file__).parents[1] / "transcripts"
LLAMACPP = "llamacpp-xllamacpp-2026.10"
OLLAMA = "ollama-0.33.0-rc2"
VLLM = "vllm-0.32.0-cpu"
WEBUI = "text-generation-webui-4.7.3"

OPENAI_TARGET = Target(
    id="vllm/tiny-llama", engine="vllm", model="tiny-llama", dialect="openai", host="h", port=1
)
OLLAMA_TARGET = Target(
    id="ollama/tiny", engine="ollama", model="tiny", dialect="ollama", host="h", port=1
)
TARGETS = {"openai": OPENAI_TARGET, "ollama": OLLAMA_TARGET}


class Recorded(NamedTuple):
    """An answer: its pieces are the chunks as they came, or the one sized body."""

    status: int
    headers: dict[str, str]
    pieces: list[bytes]

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)


def recorded(engine: str, name: str) -> Recorded:
    """`tests/transcripts/<engine>/<name>.response.http`."""
    data = (TRANSCRIPTS / engine / f"{name}.response.http").read_bytes()
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {}
    for line in lines:
        key, _, value = line.partition(":")
        headers[key.lower()] = value.strip()
    chunked = headers.get("transfer-encoding") == "chunked"
    return Recorded(int(first.split(" ")[1]), headers, dechunked(body) if chunked else [body])


def dechunked(body: bytes) -> list[bytes]:
    """The chunks of a body in HTTP's chunked coding."""
    chunks = []
    while True:
        size, _, body = body.partition(b"\r\n")
        length = int(size, 16)
        if length == 0:
            return chunks
        chunks.append(body[:length])
        body = body[length + 2 :]


def chat(**fields: Any) -> ChatRequest:
    """A chat request with these fields; model `mine` and one message unless given."""
    whole = {"model": "mine", "messages": [{"role": "user", "content": "hi"}], **fields}
    return parse_chat(json.dumps(whole).encode(), Policy())


def embeddings(**fields: Any) -> EmbeddingsRequest:
    """A request for embeddings with these fields; model `mine` unless given."""
    return parse_embeddings(json.dumps({"model": "mine", **fields}).encode(), Policy())


def reader(dialect: str, **fields: Any) -> StreamReader:
    """A reader for a streamed answer to such a request."""
    request = chat(stream=True, **fields)
    return CODECS[dialect].chat_stream(request, TARGETS[dialect], 1700000000, "chatcmpl-x")


class Result(NamedTuple):
    """All that came of a stream: the client's bytes, and the error it ended with."""

    sent: bytes
    error: tuple[str, str] | None
    tail: bytes
    usage: Usage | None
    started: bool


def drive(stream: StreamReader, pieces: Iterable[bytes]) -> Result:
    """Feed the pieces, then end."""
    sent = b""
    error = None
    try:
        for piece in pieces:
            sent += stream.feed(piece)
        stream.end()
    except EngineError as found:
        sent += found.before
        error = (found.code, found.message)
    return Result(sent, error, stream.tail, stream.usage, stream.started)


def events(sent: bytes) -> list[dict[str, Any]]:
    """The JSON of each event."""
    return [json.loads(event[6:]) for event in sent.decode().split("\n\n") if event]


def said(sent: bytes) -> str:
    """The text of all deltas."""
    deltas = [choice["delta"] for event in events(sent) for choice in event["choices"]]
    return "".join(delta.get("content") or "" for delta in deltas)
