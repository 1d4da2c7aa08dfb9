"""OpenAI's whole answers as Anthropic's messages, and lists of models."""

from __future__ import annotations

import json
from typing import Any

import pytest
from anthropic.types import Message
from anthropic.types import ModelInfo as SdkModelInfo
from anthropic_said import LLAMACPP, NATIVE, STAMP, TOOL, VLLM, parsed, recorded
from hypothesis import given
from hypothesis import strategies as st

from flm.dialects.client_anthropic.models import model_page, one_model
from flm.dialects.codec import InputDetails, Usage
from flm.dialects.engine import CODECS
from flm.errors import EngineError
from flm.wire.snapshot import ModelEntry


def answered(message: dict[str, Any], finish: str = "stop", **fields: Any) -> dict[str, Any]:
    more = fields.pop("more", {})
    choice = {"index": 0, "message": message, "finish_reason": finish, **more}
    whole = {"id": "chatcmpl-1", "choices": [choice], "model": "mine"}
    said = parsed(**fields).answer(json.dumps(whole).encode(), Usage(9, 4), STAMP)
    found: dict[str, Any] = json.loads(said)
    Message.model_validate(found, strict=True)
    return found


def test_an_answer_byte_for_byte() -> None:
    """Everything in the order of Anthropic's reference; cached tokens are counted apart."""
    message = {
        "role": "assistant",
        "reasoning_content": "hm",
        "reasoning": "hm",
        "content": "日本",
        "tool_calls": [
            {"id": "t", "type": "function", "function": {"name": "f", "arguments": '{"a":"é"}'}}
        ],
    }
    whole = {"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}
    usage = Usage(9, 4, InputDetails(5))
    said = parsed().answer(json.dumps(whole, ensure_ascii=False).encode(), usage, STAMP)
    assert said.decode() == (
        '{"id":"msg_7","type":"message","role":"assistant","model":"mine","content":['
        '{"thinking":"hm","signature":"flm-msg_7-0","type":"thinking"},'
        '{"text":"日本","type":"text"},'
        '{"id":"t","name":"f","input":{"a":"é"},"type":"tool_use"}],'
        '"stop_reason":"tool_use","stop_sequence":null,"stop_details":null,'
        '"usage":{"input_tokens":4,"cache_creation_input_tokens":0,'
        '"cache_read_input_tokens":5,"output_tokens":4}}'
    )


@pytest.mark.parametrize(
    ("arguments", "given_input"),
    [
        ('{"a":1}', {"a": 1}),
        ("", {}),
        ("null", {}),
        (None, {}),
        ({"a": 1}, {"a": 1}),
        ('{"a":', {"INVALID_JSON": '{"a":'}),
        ("[1]", {"INVALID_JSON": "[1]"}),
        ('{"a":1} and more', {"INVALID_JSON": '{"a":1} and more'}),
    ],
)
def test_arguments_are_always_an_object(arguments: object, given_input: dict[str, Any]) -> None:
    """What a model got wrong does not break the client."""
    call = {"id": "t", "function": {"name": "f", "arguments": arguments}}
    found = answered({"content": None, "tool_calls": [call]}, "tool_calls")
    assert found["content"][0]["input"] == given_input


def test_a_sequence_that_ended_the_answer_is_named() -> None:
    """vLLM tells which."""
    found = answered({"content": "a"}, more={"stop_reason": "END"}, stop_sequences=["END"])
    assert (found["stop_reason"], found["stop_sequence"]) == ("stop_sequence", "END")


def test_a_refusal_is_marked() -> None:
    """By what the model said, or by a filter."""
    found = answered({"content": None, "refusal": "no"})
    assert (found["stop_reason"], found["content"][0]["text"]) == ("refusal", "no")
    assert answered({"content": "x"}, "content_filter")["stop_details"]["type"] == "refusal"


def test_the_older_function_call_is_a_tool_call() -> None:
    """Some engines still say it."""
    found = answered({"function_call": {"name": "f", "arguments": "{}"}}, "function_call")
    assert found["content"] == [{"type": "tool_use", "id": "toolu_7_0", "name": "f", "input": {}}]
    assert found["stop_reason"] == "tool_use"


@pytest.mark.parametrize(
    "body", [b"[]", b'{"choices":[]}', b'{"choices":[{"message":{"content":1}}]}']
)
def test_what_is_no_answer_is_an_error(body: bytes) -> None:
    """Never an empty message."""
    with pytest.raises(EngineError) as found:
        parsed().answer(body, None, STAMP)
    assert found.value.code == "bad_engine_answer"


@pytest.mark.parametrize(
    ("engine", "name"),
    [(LLAMACPP, "chat"), (LLAMACPP, "chat-tool-forced"), (VLLM, "chat")],
)
def test_recorded_answers_lose_nothing(engine: str, name: str) -> None:
    """Text, calls and counts; the SDK reads them."""
    body = recorded(engine, name)[0]
    theirs = json.loads(body)
    conversation = parsed(tools=[TOOL])
    answer = CODECS["openai"].chat_answer(conversation.chat, NATIVE, body, 1, "chatcmpl-x")
    ours = json.loads(conversation.answer(answer.body, answer.usage, STAMP))
    Message.model_validate(ours, strict=True)
    said = theirs["choices"][0]["message"]
    text = "".join(block.get("text", "") for block in ours["content"])
    calls = [block["name"] for block in ours["content"] if block["type"] == "tool_use"]
    assert text == (said.get("content") or "")
    assert calls == [call["function"]["name"] for call in said.get("tool_calls") or []]
    counts = ours["usage"]
    assert (
        counts["input_tokens"] + counts["cache_read_input_tokens"]
        == (theirs["usage"]["prompt_tokens"])
    )
    assert counts["output_tokens"] == theirs["usage"]["completion_tokens"]


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.text(), st.text(), st.lists(st.dictionaries(st.text(), values, max_size=3), max_size=3))
def test_what_was_answered_comes_back_as_it_was_said(
    text: str, thought: str, inputs: list[dict[str, Any]]
) -> None:
    """Out to the client and, with its next request, in again: the same message."""
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if thought:
        message["reasoning_content"] = thought
    if inputs:
        message["tool_calls"] = [
            {
                "id": f"t{i}",
                "type": "function",
                "function": {"name": "f", "arguments": json.dumps(each)},
            }
            for i, each in enumerate(inputs)
        ]
    whole = {"choices": [{"message": message, "finish_reason": "stop"}]}
    answer = json.loads(parsed().answer(json.dumps(whole).encode(), None, STAMP))
    history = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": answer["content"]},
    ]
    chat = parsed(messages=history).chat
    back = json.loads(bytes(chat.fields["messages"]))[1]
    for call in [*back.get("tool_calls", []), *message.get("tool_calls", [])]:
        call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    assert back == message


def test_models_in_anthropic_s_shape() -> None:
    """All on one page; a time nobody knows is 1970."""
    one = ModelEntry(
        name="Qwen/Qwen3", targets=(), engines=(), state="ready", created=1760000000,
        context_length=4096,
    )  # fmt: skip
    two = ModelEntry(name="tiny", targets=(), engines=(), state="ready")
    page = json.loads(model_page([one, two]))
    assert page == {
        "data": [
            {
                "id": "Qwen/Qwen3",
                "created_at": "2025-10-09T08:53:20Z",
                "display_name": "Qwen/Qwen3",
                "max_input_tokens": 4096,
                "type": "model",
                "lifecycle": "active",
            },
            {
                "id": "tiny",
                "created_at": "1970-01-01T00:00:00Z",
                "display_name": "tiny",
                "max_input_tokens": None,
                "type": "model",
                "lifecycle": "active",
            },
        ],
        "first_id": "Qwen/Qwen3",
        "last_id": "tiny",
        "has_more": False,
    }
    assert SdkModelInfo.model_validate_json(one_model(two)).id == "tiny"
    assert json.loads(model_page([])) == {
        "data": [],
        "first_id": None,
        "last_id": None,
        "has_more": False,
    }
