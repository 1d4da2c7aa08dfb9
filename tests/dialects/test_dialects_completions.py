"""Text completions: what is refused, what goes to which engine, and what comes back."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from dialects_recorded import (
    LLAMACPP,
    OLLAMA,
    OLLAMA_TARGET,
    OPENAI_TARGET,
    VLLM,
    WEBUI,
    drive,
    events,
    recorded,
)
from hypothesis import given
from hypothesis import strategies as st
from openai.types import Completion

from flm.dialects.codec import Usage
from flm.dialects.engine import CODECS
from flm.dialects.openai_completions import CompletionRequest, parse_completions
from flm.domain.policy import Policy
from flm.errors import EngineError, Refusal
from flm.wire.snapshot import Target

OPENAI, OLLAMA_CODEC = CODECS["openai"], CODECS["ollama"]


def completion(**fields: Any) -> CompletionRequest:
    """A request with these fields; model `mine` and a prompt unless given."""
    whole = {"model": "mine", "prompt": "Once", **fields}
    return parse_completions(json.dumps(whole).encode(), Policy())


def to_ollama(**fields: Any) -> dict[str, Any]:
    """The body that Ollama gets."""
    call = OLLAMA_CODEC.completions(completion(**fields), OLLAMA_TARGET)
    assert call.path == "/api/generate"
    return dict(json.loads(call.body))


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": []}, "prompt"),
        ({"prompt": ["a", 1]}, "prompt"),
        ({"prompt": [[1], "a"]}, "prompt"),
        ({"prompt": [-1]}, "prompt[0]"),
        ({"prompt": {"a": 1}}, "prompt"),
        ({"temperature": 2.1}, "temperature"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"n": 0}, "n"),
        ({"n": 3, "best_of": 2}, "best_of"),
        ({"logprobs": 21}, "logprobs"),
        ({"logprobs": True}, "logprobs"),
        ({"stop": [""] * 17}, "stop"),
        ({"suffix": 3}, "suffix"),
    ],
)
def test_values_out_of_range_are_refused(fields: dict[str, Any], param: str) -> None:
    """400 with the field at fault."""
    with pytest.raises(Refusal) as caught:
        completion(**fields)
    assert (caught.value.status, caught.value.code) == (400, "invalid_value")
    assert caught.value.param == param


def test_a_prompt_must_be_there() -> None:
    """As the model must."""
    with pytest.raises(Refusal) as caught:
        parse_completions(b'{"model":"m"}', Policy())
    assert (caught.value.code, caught.value.param) == ("missing_required_parameter", "prompt")


def test_dangerous_fields_are_refused() -> None:
    """The same as in a chat."""
    with pytest.raises(Refusal) as caught:
        completion(n_discard=-1)
    assert caught.value.code == "dangerous_parameter"


@pytest.mark.parametrize(
    "prompt", ["x", ["a", "b"], [1, 2, 3], [[1, 2], [3]], "日本語 😀", ["one"]]
)
def test_every_form_of_a_prompt_goes_on_as_it_is(prompt: object) -> None:
    """To engines of the same dialect, with everything beside it; the model is the engine's."""
    fields = {"prompt": prompt, "suffix": "end", "echo": True, "best_of": 2, "logprobs": 3}
    call = OPENAI.completions(completion(**fields), OPENAI_TARGET)
    assert call.path == "/v1/completions"
    assert json.loads(call.body) == {"model": "tiny-llama", **fields}


def test_usage_is_always_asked_for_in_a_stream() -> None:
    """And other options of the stream stay."""
    request = completion(stream=True, stream_options={"continuous_usage_stats": False})
    body = json.loads(OPENAI.completions(request, OPENAI_TARGET).body)
    assert body["stream_options"] == {"continuous_usage_stats": False, "include_usage": True}


@pytest.mark.parametrize(
    ("engine", "usage"), [(LLAMACPP, (6, 5)), (VLLM, (4, 5)), (WEBUI, (5, 10))]
)
def test_a_recorded_answer_gets_the_clients_name(engine: str, usage: tuple[int, int]) -> None:
    """Nothing else changes; the tokens are known."""
    theirs = json.loads(recorded(engine, "completions").body)
    answer = OPENAI.completions_answer(
        completion(), OPENAI_TARGET, recorded(engine, "completions").body, 1, "cmpl-x"
    )
    ours = json.loads(answer.body)
    assert ours == {**theirs, "model": "mine"}
    assert Completion.model_validate(ours).choices[0].text == theirs["choices"][0]["text"]
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == usage


@pytest.mark.parametrize(
    ("engine", "text"), [(LLAMACPP, "%w9ݫ"), (WEBUI, "or"), (VLLM, "\x10\ufffd\ufffd\ufffd ")]
)
def test_a_recorded_stream_is_passed_on(engine: str, text: str) -> None:
    """The words, the client's name for the model, the end mark; text counts as content."""
    reader = OPENAI.completions_stream(completion(stream=True), OPENAI_TARGET, 1, "cmpl-x")
    result = drive(reader, recorded(engine, "completions-stream").pieces)
    said = events(result.sent)
    assert "".join(each["choices"][0]["text"] for each in said) == text
    assert {each["model"] for each in said} == {"mine"}
    assert (result.tail, result.error, result.started) == (b"data: [DONE]\n\n", None, True)


def test_a_text_event_has_a_shape() -> None:
    """What differs from the last one by its text alone needs no look."""
    pieces = recorded(LLAMACPP, "completions-stream").pieces
    reader = OPENAI.completions_stream(completion(stream=True), OPENAI_TARGET, 1, "cmpl-x")
    assert reader.feed(pieces[0])
    shape = reader.shape(pieces[0])
    assert shape is not None
    assert shape.before.endswith(b'"text":"')
    assert shape.lead + b"%" + shape.trail == reader.feed(pieces[0])
    assert pieces[1] == shape.before + b"w" + shape.after


def test_ollama_gets_what_it_knows() -> None:
    """As options, and with the context length that every request of FLM's names."""
    target = Target(id="o/m", engine="o", model="tiny", dialect="ollama", num_ctx=4096)
    request = completion(
        max_tokens=5, temperature=0.5, top_p=0.9, seed=7, stop="x", frequency_penalty=1,
        presence_penalty=-1, suffix="end", logprobs=2, top_k=3, keep_alive="5m", user="me",
    )  # fmt: skip
    call = OLLAMA_CODEC.completions(request, target)
    assert json.loads(call.body) == {
        "model": "tiny",
        "prompt": "Once",
        "stream": False,
        "truncate": False,
        "shift": False,
        "think": False,
        "suffix": "end",
        "options": {
            "temperature": 0.5, "top_p": 0.9, "seed": 7, "stop": ["x"], "num_predict": 5,
            "presence_penalty": -1, "frequency_penalty": 1, "num_ctx": 4096, "top_k": 3,
        },
        "logprobs": True,
        "top_logprobs": 2,
        "keep_alive": "5m",
    }  # fmt: skip
    assert call.dropped == ("user",)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 2}, "n"),
        ({"best_of": 2}, "best_of"),
        ({"echo": True}, "echo"),
        ({"logit_bias": {"1": 5}}, "logit_bias"),
        ({"prompt": ["a", "b"]}, "prompt"),
        ({"prompt": [1, 2]}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"max_tokens": 0}, "max_tokens"),
    ],
)
def test_what_ollama_would_lose_is_refused(fields: dict[str, Any], param: str) -> None:
    """Nothing is lost in silence."""
    with pytest.raises(Refusal) as caught:
        to_ollama(**fields)
    assert (caught.value.status, caught.value.code) == (400, "unsupported_parameter")
    assert caught.value.param == param


def test_one_text_in_a_list_is_one_prompt() -> None:
    """As some clients write it."""
    assert to_ollama(prompt=["Once"], n=1, best_of=1, echo=False)["prompt"] == "Once"


def test_ollamas_answer_is_a_completion() -> None:
    """In OpenAI's form, with its tokens."""
    body = recorded(OLLAMA, "generate").body
    answer = OLLAMA_CODEC.completions_answer(completion(), OLLAMA_TARGET, body, 17, "cmpl-x")
    ours = json.loads(answer.body)
    Completion.model_validate(ours)
    assert ours == {
        "id": "cmpl-x",
        "object": "text_completion",
        "created": 17,
        "model": "mine",
        "system_fingerprint": "fp_ollama",
        "choices": [
            {"text": json.loads(body)["response"], "index": 0, "logprobs": None,
             "finish_reason": "length"}
        ],
        "usage": {"prompt_tokens": 24, "completion_tokens": 8, "total_tokens": 32},
    }  # fmt: skip
    assert answer.usage == Usage(24, 8)


def test_ollamas_logprobs_are_openais_of_completions() -> None:
    """Lists side by side, with the offsets of the tokens."""
    body = json.dumps(
        {
            "response": "hi you",
            "done": True,
            "done_reason": "stop",
            "logprobs": [
                {"token": "hi", "logprob": -0.5, "top_logprobs": [{"token": "a", "logprob": -1}]},
                {"token": " you", "logprob": -0.25},
            ],
        }
    ).encode()
    answer = OLLAMA_CODEC.completions_answer(completion(), OLLAMA_TARGET, body, 1, "x")
    assert json.loads(answer.body)["choices"][0]["logprobs"] == {
        "tokens": ["hi", " you"],
        "token_logprobs": [-0.5, -0.25],
        "top_logprobs": [{"a": -1}, {}],
        "text_offset": [0, 2],
    }


def ollama_stream(**fields: Any) -> Any:
    """A reader of Ollama's stream."""
    request = completion(stream=True, **fields)
    return OLLAMA_CODEC.completions_stream(request, OLLAMA_TARGET, 1700000000, "cmpl-x")


def test_ollamas_stream_is_translated() -> None:
    """All its words, a finish reason, the end mark, usage when it was asked for."""
    pieces = recorded(OLLAMA, "generate-stream").pieces
    result = drive(ollama_stream(stream_options={"include_usage": True}), pieces)
    theirs = [json.loads(line) for line in b"".join(pieces).splitlines()]
    *said, last, usage = events(result.sent)
    assert "".join(each["choices"][0]["text"] for each in said) == "".join(
        line["response"] for line in theirs
    )
    assert last["choices"][0]["finish_reason"] == "length"
    assert usage["choices"] == []
    assert usage["usage"] == {"prompt_tokens": 24, "completion_tokens": 8, "total_tokens": 32}
    assert {each["object"] for each in said} == {"text_completion"}
    assert (result.tail, result.usage) == (b"data: [DONE]\n\n", Usage(24, 8))


@given(st.lists(st.integers(0, 900), max_size=6))
def test_any_cut_of_ollamas_bytes_gives_the_same_events(cuts: list[int]) -> None:
    """Japanese and emoji among them."""
    lines = [{"response": text, "done": False} for text in ("こん", "にちは", " 😀", "\n\n")]
    lines.append({"response": "", "done": True, "done_reason": "stop", "eval_count": 4})
    data = b"".join(json.dumps(line, ensure_ascii=False).encode() + b"\n" for line in lines)
    edges = [0, *sorted({min(cut, len(data)) for cut in cuts}), len(data)]
    pieces = [data[start:end] for start, end in itertools.pairwise(edges)]
    assert drive(ollama_stream(), pieces) == drive(ollama_stream(), [data])


def test_a_line_with_an_error_breaks_ollamas_stream() -> None:
    """What came before it reaches the client first."""
    data = b'{"response":"hi","done":false}\n{"error":"model runner has unexpectedly stopped"}\n'
    result = drive(ollama_stream(), [data])
    assert result.error is not None
    assert events(result.sent)[0]["choices"][0]["text"] == "hi"


def test_a_model_that_cannot_insert_says_so() -> None:
    """Ollama's own words for a suffix, as an error of the request."""
    found = recorded(OLLAMA, "generate-suffix-unsupported")
    error = OLLAMA_CODEC.error(found.status, found.headers, found.body, OLLAMA_TARGET)
    assert isinstance(error, EngineError)
    assert (error.status, error.code) == (400, "unsupported_operation")
