"""Reranking: one form for clients, whatever the engine."""

from __future__ import annotations

import json
from typing import Any

import pytest
from dialects_recorded import LLAMACPP, OPENAI_TARGET, recorded

from flm.dialects.codec import Usage
from flm.dialects.engine import CODECS
from flm.dialects.openai_rerank import RerankRequest, parse_rerank, rerank_answer, rerank_call
from flm.domain.policy import Policy
from flm.errors import EngineError, Refusal


def asked(**fields: Any) -> RerankRequest:
    """A request with these fields; two documents unless given."""
    whole = {"model": "mine", "query": "q", "documents": ["a", "b"], **fields}
    return parse_rerank(json.dumps(whole).encode(), Policy())


def answered(request: RerankRequest, body: object) -> dict[str, Any]:
    """What a client gets of that answer."""
    answer = rerank_answer(request, OPENAI_TARGET, json.dumps(body).encode(), "rerank-x")
    return dict(json.loads(answer.body))


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"documents": []}, "documents"),
        ({"documents": [1]}, "documents[0]"),
        ({"top_n": 0}, "top_n"),
        ({"query": None}, "query"),
        ({"return_documents": "yes"}, "return_documents"),
    ],
)
def test_values_out_of_range_are_refused(fields: dict[str, Any], param: str) -> None:
    """400 with the field at fault."""
    with pytest.raises(Refusal) as caught:
        asked(**fields)
    assert (caught.value.code, caught.value.param) == ("invalid_value", param)


def test_documents_go_on_as_texts() -> None:
    """Objects too: not every engine takes them. FLM has the documents, so none are asked back."""
    request = asked(documents=["a", {"text": "日本", "title": "t"}], return_documents=True, top_n=1)
    call = rerank_call(request, OPENAI_TARGET)
    assert call.path == "/v1/rerank"
    assert json.loads(call.body) == {
        "model": "tiny-llama", "query": "q", "documents": ["a", "日本"], "top_n": 1,
    }  # fmt: skip


def test_vllms_answer_is_given_in_one_form() -> None:
    """Recorded: its documents have more fields than others know."""
    body = recorded("vllm-0.32.0-cpu-embed", "rerank").body
    answer = rerank_answer(asked(), OPENAI_TARGET, body, "rerank-x")
    assert json.loads(answer.body) == {
        "id": "score-ad43a782b79c0830",
        "model": "mine",
        "results": [
            {"index": 1, "relevance_score": 0.16008274257183075, "document": {"text": "b"}},
            {"index": 0, "relevance_score": 0.15437790751457214, "document": {"text": "a"}},
        ],
        "usage": {"prompt_tokens": 3, "total_tokens": 3},
    }
    assert answer.usage == Usage(3)


def test_results_are_sorted_and_cut() -> None:
    """By relevance, and no more than were asked for, whatever the engine does."""
    body = {"results": [{"index": 0, "score": -1.5}, {"index": 1, "relevance_score": 2}]}
    assert answered(asked(top_n=1), body) == {
        "id": "rerank-x",
        "model": "mine",
        "results": [{"index": 1, "relevance_score": 2.0}],
    }


@pytest.mark.parametrize(
    ("wanted", "expected"), [(True, {"text": "b"}), (False, None), (None, None)]
)
def test_documents_come_back_when_they_are_wanted(
    wanted: bool | None, expected: dict[str, str] | None
) -> None:
    """From FLM itself where the engine does not send them."""
    body = {"results": [{"index": 1, "relevance_score": 1}]}
    result = answered(asked(return_documents=wanted), body)["results"][0]
    assert result.get("document") == expected


@pytest.mark.parametrize(
    "body",
    [
        {"results": [{"index": 2, "relevance_score": 1}]},
        {"results": [{"index": 0}]},
        {"results": "none"},
        {},
        {"error": {"message": "no"}},
    ],
)
def test_what_is_no_ranking_is_an_error(body: object) -> None:
    """502, never half a result."""
    with pytest.raises(EngineError):
        answered(asked(), body)


def test_an_engine_without_reranking_says_so() -> None:
    """llama.cpp's 501 names the flag it was started without."""
    found = recorded(LLAMACPP, "rerank")
    error = CODECS["openai"].error(found.status, found.headers, found.body, OPENAI_TARGET)
    assert (error.status, error.code) == (400, "unsupported_operation")
    assert "--reranking" in error.message
