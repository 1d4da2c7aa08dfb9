"""Requests to Ollama, and its answers."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from flm.dialects.body import UNREADABLE
from flm.dialects.codec import Count, EngineAnswer, EngineCall, StreamReader, Usage
from flm.dialects.embedding_values import as_base64
from flm.dialects.engine_errors import bad_answer, explain
from flm.dialects.engine_ollama.answer import NO_ERROR, whole_answer
from flm.dialects.engine_ollama.completions import (
    OllamaTextStream,
    generate_body,
    whole_completion,
)
from flm.dialects.engine_ollama.request import chat_body
from flm.dialects.engine_ollama.stream import OllamaStream
from flm.dialects.fields import shown
from flm.dialects.openai_chat import NO_RAW, ChatRequest
from flm.dialects.openai_completions import CompletionRequest
from flm.dialects.openai_embeddings import KNOWN, EmbeddingsRequest
from flm.errors import EngineError, Refusal
from flm.wire.snapshot import Target

Raw = msgspec.Raw
_encode = msgspec.json.Encoder().encode


class _EmbedBody(msgspec.Struct, omit_defaults=True):
    model: str
    input: str | Raw
    truncate: bool
    options: dict[str, int] = {}
    dimensions: int | None = None
    keep_alive: Raw | None = None


class _Embedded(msgspec.Struct):
    embeddings: list[Raw] | None = None
    prompt_eval_count: Count = 0
    error: Raw = NO_RAW


_decode_embedded = msgspec.json.Decoder(_Embedded).decode


class OllamaCodec:
    """The dialect of `EngineDialectCodec` that is Ollama's own."""

    def chat(self, request: ChatRequest, target: Target) -> EngineCall:
        """See `request.chat_body`."""
        body, dropped = chat_body(request, target)
        return EngineCall("/api/chat", body, dropped)

    def chat_answer(
        self, request: ChatRequest, target: Target, body: bytes, created: int, answer_id: str
    ) -> EngineAnswer:
        """See `answer.whole_answer`."""
        return whole_answer(body, request.model, target, created, answer_id)

    def chat_stream(
        self, request: ChatRequest, target: Target, created: int, answer_id: str
    ) -> StreamReader:
        """See `stream.OllamaStream`."""
        return OllamaStream(request, target, created, answer_id)

    def completions(self, request: CompletionRequest, target: Target) -> EngineCall:
        """See `completions.generate_body`."""
        body, dropped = generate_body(request, target)
        return EngineCall("/api/generate", body, dropped)

    def completions_answer(
        self, request: CompletionRequest, target: Target, body: bytes, created: int, answer_id: str
    ) -> EngineAnswer:
        """See `completions.whole_completion`."""
        return whole_completion(body, request.model, target, created, answer_id)

    def completions_stream(
        self, request: CompletionRequest, target: Target, created: int, answer_id: str
    ) -> StreamReader:
        """See `completions.OllamaTextStream`."""
        return OllamaTextStream(request, target, created, answer_id)

    def embeddings(self, request: EmbeddingsRequest, target: Target) -> EngineCall:
        """A body for `/api/embed`, which knows text only: token ids are refused with 400."""
        if request.token_ids:
            raise Refusal(
                400,
                "unsupported_parameter",
                "Ollama embeds text, no token ids: send strings (LangChain: OpenAIEmbeddings with"
                " check_embedding_ctx_length=False).",
                param="input",
            )
        lost = request.fields.keys() - KNOWN - {"keep_alive"}
        names = [*request.dropped, *(shown(name) for name in lost)]
        if request.params.user is not None:
            names.append("user")
        body = _EmbedBody(
            model=target.model,
            input=request.fields["input"],
            truncate=False,
            options={} if target.num_ctx is None else {"num_ctx": target.num_ctx},
            dimensions=request.params.dimensions,
            keep_alive=request.fields.get("keep_alive"),
        )
        return EngineCall("/api/embed", _encode(body), tuple(sorted(set(names))))

    def embeddings_answer(
        self, request: EmbeddingsRequest, target: Target, body: bytes
    ) -> EngineAnswer:
        """The embeddings in OpenAI's shape; base64 is made here, Ollama sends numbers."""
        try:
            answer = _decode_embedded(body)
        except UNREADABLE as error:
            raise bad_answer("it is not what Ollama's API says") from error
        if bytes(answer.error) not in NO_ERROR:
            raise explain(200, {}, body, target)
        vectors = answer.embeddings or []
        if len(vectors) != request.texts:
            raise bad_answer(f"it holds {len(vectors)} embeddings for {request.texts} texts")
        if request.encoding == "base64":
            vectors = [as_base64(vector) for vector in vectors]
        count = answer.prompt_eval_count
        whole = {
            "object": "list",
            "data": [
                {"object": "embedding", "index": index, "embedding": vector}
                for index, vector in enumerate(vectors)
            ],
            "model": request.model,
            "usage": {"prompt_tokens": count, "total_tokens": count},
        }
        return EngineAnswer(_encode(whole), Usage(count, 0))

    def error(
        self,
        status: int,
        headers: Mapping[str, str],
        body: bytes,
        target: Target | None = None,
    ) -> EngineError:
        """See `engine_errors`."""
        return explain(status, headers, body, target)
