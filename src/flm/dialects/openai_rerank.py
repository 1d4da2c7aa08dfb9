"""Reranking, in the form that Jina and Cohere gave it: OpenAI has none.

Engines differ in how they take documents and what they answer; a client gets one form.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from flm.dialects.body import UNREADABLE
from flm.dialects.codec import EngineAnswer, EngineCall
from flm.dialects.engine_errors import bad_answer
from flm.dialects.engine_openai.usage import usage_in
from flm.dialects.judging import judged
from flm.dialects.passing import answer_fields, for_engine
from flm.domain.policy import Policy
from flm.wire.snapshot import Target

Raw = msgspec.Raw
_encode = msgspec.json.Encoder().encode


class Document(msgspec.Struct):
    """A document as an object; what it holds besides its text no engine reads."""

    text: str


class RerankParams(msgspec.Struct, kw_only=True):
    """The fields of a reranking, range-checked. None: absent or null."""

    model: Annotated[str, Meta(min_length=1, max_length=512)]
    query: str
    documents: Annotated[list[str | Document], Meta(min_length=1, max_length=10_000)]
    top_n: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None
    return_documents: bool | None = None


class RerankRequest(msgspec.Struct, frozen=True):
    """A reranking that may be asked of an engine. ``documents``: their texts, in order."""

    model: str
    documents: tuple[str, ...]
    fields: dict[str, Raw]
    params: RerankParams
    dropped: tuple[str, ...] = ()


class _Result(msgspec.Struct):
    index: Annotated[int, Meta(ge=0)]
    relevance_score: float | None = None
    score: float | None = None
    document: str | Document | None = None

    @property
    def value(self) -> float:
        for score in (self.relevance_score, self.score):
            if score is not None:
                return score
        raise bad_answer("a result has no score")


KNOWN = frozenset(RerankParams.__struct_fields__)
_decode_params = msgspec.json.Decoder(RerankParams).decode
_decode_results = msgspec.json.Decoder(list[_Result]).decode
_decode_text = msgspec.json.Decoder(str).decode


def parse_rerank(body: bytes, policy: Policy) -> RerankRequest:
    """The request in `body`. Raises `Refusal` 400 as `parse_chat` does."""
    fields, params, dropped = judged(body, _decode_params, KNOWN, policy)
    texts = tuple(each if isinstance(each, str) else each.text for each in params.documents)
    return RerankRequest(params.model, texts, fields, params, dropped)


def rerank_call(request: RerankRequest, target: Target) -> EngineCall:
    """The request for an engine: documents as texts, which all of them take."""
    fields = {**for_engine(request.fields, request.model, target)}
    fields["documents"] = Raw(_encode(request.documents))
    fields.pop("return_documents", None)  # FLM has them, and adds them itself
    return EngineCall("/v1/rerank", _encode(fields), request.dropped)


def rerank_answer(
    request: RerankRequest, target: Target, body: bytes, answer_id: str
) -> EngineAnswer:
    """The results, the most relevant first, not more than were asked for.

    Raises `EngineError` for what is no answer.
    """
    fields = answer_fields(body, target)
    try:
        found = _decode_results(fields.get("results", b"null"))
        given_id = _decode_text(fields["id"]) if "id" in fields else answer_id
    except UNREADABLE as error:
        raise bad_answer("it is no list of results") from error
    if any(each.index >= len(request.documents) for each in found):
        raise bad_answer("a result is none of the documents")
    found.sort(key=lambda each: -each.value)
    answer: dict[str, object] = {
        "id": given_id,
        "model": request.model,
        "results": [_shown(each, request) for each in found[: request.params.top_n]],
    }
    usage = fields.get("usage")
    if usage is not None:
        answer["usage"] = usage
    return EngineAnswer(_encode(answer), usage_in(usage))


def _shown(result: _Result, request: RerankRequest) -> dict[str, object]:
    shown: dict[str, object] = {"index": result.index, "relevance_score": result.value}
    wanted = request.params.return_documents
    if wanted or (wanted is None and result.document is not None):
        shown["document"] = {"text": request.documents[result.index]}
    return shown
