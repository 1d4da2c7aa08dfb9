"""Requests to an OpenAI-compatible engine, and its answers."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from flm.dialects.body import UNREADABLE, first_byte
from flm.dialects.codec import EngineAnswer, EngineCall, StreamReader, Usage
from flm.dialects.embedding_values import as_base64, as_numbers
from flm.dialects.engine_errors import bad_answer, explain
from flm.dialects.engine_openai.stream import OpenAIStream
from flm.dialects.engine_openai.thoughts import has_thought, under_both_names
from flm.dialects.engine_openai.usage import usage_in
from flm.dialects.openai_chat import ChatRequest
from flm.dialects.openai_completions import CompletionRequest
from flm.dialects.openai_embeddings import EmbeddingsRequest
from flm.dialects.passing import Fields, answer_fields, for_engine, renamed, respelled
from flm.errors import EngineError
from flm.wire.snapshot import Target

Raw = msgspec.Raw

_encode = msgspec.json.Encoder().encode
_decode_fields = msgspec.json.Decoder(Fields).decode
_decode_data = msgspec.json.Decoder(list[Fields]).decode


class _Message(msgspec.Struct, gc=False):
    reasoning_content: None = None
    reasoning: None = None


class _Choice(msgspec.Struct, gc=False):
    message: _Message


class _Glance(msgspec.Struct, gc=False):
    """What must be looked at of a whole answer that is as it should be; the rest is skipped."""

    model: str
    choices: list[_Choice]
    usage: Usage | None = None
    error: None = None


_glance = msgspec.json.Decoder(_Glance).decode

_TRUE = Raw(b"true")


class OpenAICodec:
    """The dialect of `EngineDialectCodec` that needs no translation."""

    def chat(self, request: ChatRequest, target: Target) -> EngineCall:
        """The same fields, the engine's model; of a stream usage is always asked for."""
        if request.stream or request.model != target.model:
            body = _counted(request, target)
        else:
            body = _encode(request.fields)
        return EngineCall("/v1/chat/completions", body, request.dropped)

    def chat_answer(
        self, request: ChatRequest, target: Target, body: bytes, created: int, answer_id: str
    ) -> EngineAnswer:
        """The engine's answer with the client's name for the model; its own id is kept.

        Reasoning stands in it under both its names.
        """
        try:
            glance = _glance(body)
        except UNREADABLE:
            pass  # it must be looked at more closely
        else:
            if glance.model == request.model:
                return EngineAnswer(body, glance.usage)
            mended = respelled(body, glance.model, request.model)
            if mended:
                return EngineAnswer(mended, glance.usage)
        answer = _answer(request.model, target, body)
        if has_thought(answer.body):
            return EngineAnswer(under_both_names(answer.body), answer.usage)
        return answer

    def chat_stream(
        self, request: ChatRequest, target: Target, created: int, answer_id: str
    ) -> StreamReader:
        """The engine's events, passed on."""
        return OpenAIStream(request.model, request.include_usage, target)

    def completions(self, request: CompletionRequest, target: Target) -> EngineCall:
        """The same fields, the engine's model; of a stream usage is always asked for."""
        return EngineCall("/v1/completions", _counted(request, target), request.dropped)

    def completions_answer(
        self, request: CompletionRequest, target: Target, body: bytes, created: int, answer_id: str
    ) -> EngineAnswer:
        """The engine's answer with the client's name for the model; its own id is kept."""
        return _answer(request.model, target, body)

    def completions_stream(
        self, request: CompletionRequest, target: Target, created: int, answer_id: str
    ) -> StreamReader:
        """The engine's events, passed on."""
        return OpenAIStream(request.model, request.include_usage, target)

    def embeddings(self, request: EmbeddingsRequest, target: Target) -> EngineCall:
        """The same fields, the engine's model."""
        fields = for_engine(request.fields, request.model, target)
        return EngineCall("/v1/embeddings", _encode(fields), request.dropped)

    def embeddings_answer(
        self, request: EmbeddingsRequest, target: Target, body: bytes
    ) -> EngineAnswer:
        """The engine's answer; the encoding is mended where the engine did not follow it."""
        fields = answer_fields(body, target)
        data = fields.get("data")
        if data is None:
            raise bad_answer("it holds no data")
        mended = _mended(data, request.encoding == "base64")
        if mended is not None:
            fields["data"] = mended
            body = b""
        return EngineAnswer(renamed(fields, request.model, body), usage_in(fields.get("usage")))

    def error(
        self,
        status: int,
        headers: Mapping[str, str],
        body: bytes,
        target: Target | None = None,
    ) -> EngineError:
        """See `engine_errors`."""
        return explain(status, headers, body, target)


def _counted(request: ChatRequest | CompletionRequest, target: Target) -> bytes:
    fields = for_engine(request.fields, request.model, target)
    if request.stream:
        options = _stream_options(request.fields)
        options["include_usage"] = _TRUE
        fields = {**fields, "stream_options": Raw(_encode(options))}
    return _encode(fields)


def _answer(model: str, target: Target, body: bytes) -> EngineAnswer:
    fields = answer_fields(body, target)
    if "choices" not in fields:
        raise bad_answer("it holds no choices")
    return EngineAnswer(renamed(fields, model, body), usage_in(fields.get("usage")))


def _stream_options(fields: Fields) -> Fields:
    """The client's own, which may hold more than OpenAI's."""
    given = fields.get("stream_options")
    return {} if given is None or first_byte(given) != b"{" else _decode_fields(given)


def _mended(data: Raw, base64: bool) -> Raw | None:
    """`data` in the encoding that was asked for; None when it is that already."""
    try:
        items = _decode_data(data)
    except UNREADABLE as error:
        raise bad_answer("its data is no list of embeddings") from error
    changed = False
    for item in items:
        value = item.get("embedding")
        if value is None or first_byte(value) not in (b"[", b'"'):
            raise bad_answer("an embedding is missing")
        is_text = first_byte(value) == b'"'
        if is_text != base64:
            item["embedding"] = as_base64(value) if base64 else as_numbers(value)
            item.pop("encoding_format", None)
            changed = True
    return Raw(_encode(items)) if changed else None
