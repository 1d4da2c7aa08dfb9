"""Anthropic's SDK: messages, streams, tools, thoughts, counts, models and errors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import pytest
from anthropic.types import Message, MessageParam, ToolParam
from clients_engines import ActingEngine, refusal
from clients_house import PIXEL, SENTENCE, SENTENCE_TOKENS, WEATHER, WHERE, House
from clients_stage import REFUSAL, TEXT, THOUGHT

HI: list[MessageParam] = [{"role": "user", "content": "hi"}]
BOTH: list[MessageParam] = [{"role": "user", "content": WHERE}]
TOOLS: list[ToolParam] = [{"name": "get_weather", "input_schema": {**WEATHER}}]
BUSY = refusal("503 Service Unavailable", {"error": "server busy"}, Retry_After="1")


def sdk(house: House, **more: Any) -> anthropic.Anthropic:
    """The SDK as a user makes it, but that it is strict about what it reads."""
    return anthropic.Anthropic(
        base_url=house.root,
        timeout=30,
        _strict_response_validation=True,
        **{"api_key": house.key, "max_retries": 0, **more},
    )


@pytest.fixture(scope="module")
def client(house: House) -> Iterator[anthropic.Anthropic]:
    """One that retries nothing."""
    with sdk(house) as made:
        yield made


def tokens_in(message: Message) -> int:
    """All tokens of the question; Anthropic counts those from its cache apart."""
    return message.usage.input_tokens + (message.usage.cache_read_input_tokens or 0)


# Messages.


def test_a_real_model_is_heard_word_for_word(client: anthropic.Anthropic) -> None:
    """Whole and streamed, with the usage."""
    whole = client.messages.create(model="words", max_tokens=64, messages=HI)
    with client.messages.stream(model="words", max_tokens=64, messages=HI) as stream:
        streamed = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert [block.text for block in whole.content if block.type == "text"] == [SENTENCE]
    assert streamed == SENTENCE
    assert (whole.stop_reason, final.stop_reason) == ("end_turn", "end_turn")
    assert whole.usage.output_tokens == final.usage.output_tokens == SENTENCE_TOKENS
    assert tokens_in(whole) == tokens_in(final) == 21
    assert whole.model == final.model == "words"


def test_a_stream_has_every_event_in_order(client: anthropic.Anthropic, actor: str) -> None:
    """As Anthropic documents them."""
    events = [
        event.type
        for event in client.messages.create(model=actor, max_tokens=64, messages=HI, stream=True)
    ]
    assert events == [
        "message_start",
        "content_block_start",
        *["content_block_delta"] * 4,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


def test_the_system_comes_first(
    client: anthropic.Anthropic, actor: str, engine: ActingEngine
) -> None:
    """In one message, whatever blocks it has; hints for Anthropic's cache are left out."""
    answer = client.messages.create(
        model=actor,
        max_tokens=64,
        messages=HI,
        system=[
            {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}},
            {"type": "text", "text": "Be kind."},
        ],
    )
    first = engine.chats[-1]["messages"][0]
    assert answer.content[0].to_dict()["text"] == TEXT
    assert first["role"] == "system"
    assert "Be brief." in str(first["content"])
    assert "Be kind." in str(first["content"])


def test_a_stop_sequence_is_named(client: anthropic.Anthropic) -> None:
    """The real model stops before it."""
    answer = client.messages.create(
        model="words", max_tokens=64, messages=HI, stop_sequences=["世界"]
    )
    assert answer.content[0].to_dict()["text"] == "Say it twice: 日本語のテスト、こんにちは"


def test_a_limit_of_tokens_is_told(client: anthropic.Anthropic) -> None:
    """`max_tokens`, by the real model."""
    answer = client.messages.create(model="words", max_tokens=3, messages=HI)
    assert answer.stop_reason == "max_tokens"
    assert answer.content[0].to_dict()["text"] == "Say it twice: "


async def test_the_async_client_is_served_alike(house: House, engine: ActingEngine) -> None:
    """Streamed, on both engines."""
    async with (
        anthropic.AsyncAnthropic(base_url=house.root, api_key=house.key) as client,
        client.messages.stream(
            model=house.name(engine, "actor"), max_tokens=64, messages=HI
        ) as stream,
    ):
        assert await stream.get_final_text() == TEXT


def test_a_request_is_found_in_the_logs_by_the_id_the_sdk_gives(
    client: anthropic.Anthropic, house: House, engine: ActingEngine
) -> None:
    """With its tokens."""
    answer = client.messages.create(model=house.name(engine, "actor"), max_tokens=64, messages=HI)
    record = house.flm.record(str(answer._request_id))
    assert (record["status"], record["tokens_in"], record["tokens_out"]) == (200, 9, 4)


# Tools, pictures, thoughts.


def test_tools_are_called_and_answered(client: anthropic.Anthropic, actor: str) -> None:
    """Two calls at once, their input as objects; their results come back to it."""
    first = client.messages.create(model=actor, max_tokens=64, messages=BOTH, tools=TOOLS)
    calls = [block for block in first.content if block.type == "tool_use"]
    assert first.stop_reason == "tool_use"
    assert [(call.name, call.input) for call in calls] == [
        ("get_weather", {"city": "東京"}),
        ("get_weather", {"city": "Köln"}),
    ]
    results: Any = [
        {"type": "tool_result", "tool_use_id": call.id, "content": told}
        for call, told in zip(calls, ("晴れ", "rain"), strict=True)
    ]
    history: list[MessageParam] = [
        *BOTH,
        {"role": "assistant", "content": first.content},
        {"role": "user", "content": results},
    ]
    last = client.messages.create(model=actor, max_tokens=64, messages=history, tools=TOOLS)
    assert last.content[0].to_dict()["text"] == "It is 晴れ and rain."
    assert last.stop_reason == "end_turn"


def test_streamed_tool_calls_are_put_together_by_the_sdk(
    client: anthropic.Anthropic, actor: str
) -> None:
    """Each is a block of its own, its JSON in pieces."""
    with client.messages.stream(model=actor, max_tokens=64, messages=BOTH, tools=TOOLS) as stream:
        final = stream.get_final_message()
    calls = [block for block in final.content if block.type == "tool_use"]
    assert [call.input for call in calls] == [{"city": "東京"}, {"city": "Köln"}]
    assert len({call.id for call in calls}) == 2
    assert final.stop_reason == "tool_use"


def test_a_picture_arrives(client: anthropic.Anthropic, actor: str) -> None:
    """In base64, beside its question."""
    content: Any = [
        {
            "type": "image",
            "source": {"type": "base64", "media_type": "image/png", "data": PIXEL},
        },
        {"type": "text", "text": "What is it?"},
    ]
    answer = client.messages.create(
        model=actor, max_tokens=64, messages=[{"role": "user", "content": content}]
    )
    assert answer.content[0].to_dict()["text"] == "1 picture."


def test_thoughts_are_blocks_of_their_own(
    client: anthropic.Anthropic, house: House, engine: ActingEngine
) -> None:
    """Before the text, whole and streamed; sent back with the history they do no harm."""
    asked: Any = {
        "model": house.name(engine, "thinker"),
        "max_tokens": 2048,
        "thinking": {"type": "enabled", "budget_tokens": 1024},
    }
    whole = client.messages.create(messages=HI, **asked)
    with client.messages.stream(messages=HI, **asked) as stream:
        final = stream.get_final_message()
    for message in (whole, final):
        thought, text = message.content
        assert thought.type == "thinking"
        assert thought.thinking == THOUGHT
        assert text.type == "text"
        assert text.text == "42."
    history: list[MessageParam] = [*HI, {"role": "assistant", "content": whole.content}, *HI]
    again = client.messages.create(messages=history, **asked)
    assert again.content[-1].to_dict()["text"] == "42."


def test_a_refusal_is_told(client: anthropic.Anthropic) -> None:
    """As the stop reason Anthropic has for it, with its words."""
    answer = client.messages.create(model="stage/refuser", max_tokens=64, messages=HI)
    assert answer.stop_reason == "refusal"
    assert answer.content[0].to_dict()["text"] == REFUSAL


# Counts and models.


def test_tokens_are_counted_by_the_real_model(client: anthropic.Anthropic) -> None:
    """As many as the answer's usage says."""
    counted = client.messages.count_tokens(model="words", messages=HI)
    answer = client.messages.create(model="words", max_tokens=1, messages=HI)
    assert counted.input_tokens == tokens_in(answer) == 21


def test_tokens_are_estimated_where_nobody_counts(client: anthropic.Anthropic, actor: str) -> None:
    """Some, and more for more."""
    less = client.messages.count_tokens(model=actor, messages=HI)
    more = client.messages.count_tokens(model=actor, messages=BOTH, tools=TOOLS)
    assert 0 < less.input_tokens < more.input_tokens


def test_the_list_of_models_in_anthropics_shape(client: anthropic.Anthropic) -> None:
    """And one of them."""
    names = [model.id for model in client.models.list()]
    one = client.models.retrieve("words")
    assert {"words", "actor", "actor:latest"} <= set(names)
    assert (one.type, one.id) == ("model", "words")


def test_a_published_pattern_answers_for_claudes_names(client: anthropic.Anthropic) -> None:
    """The answer bears the name that was asked for."""
    answer = client.messages.create(model="claude-flm-tests", max_tokens=64, messages=HI)
    assert (answer.model, answer.content[0].to_dict()["text"]) == ("claude-flm-tests", TEXT)


# Errors.


def test_a_bearer_token_is_as_good_as_a_key(house: House) -> None:
    """`auth_token`, which is what `ANTHROPIC_AUTH_TOKEN` gives."""
    with sdk(house, api_key=None, auth_token=house.key) as client:
        answer = client.messages.create(model="words", max_tokens=3, messages=HI)
    assert answer.stop_reason == "max_tokens"


def test_a_wrong_key_is_an_authentication_error(house: House) -> None:
    """401 in Anthropic's words."""
    with (
        sdk(house, api_key="flm_wrong") as stranger,
        pytest.raises(anthropic.AuthenticationError) as caught,
    ):
        stranger.messages.create(model="words", max_tokens=3, messages=HI)
    body: Any = caught.value.body
    assert (body["type"], body["error"]["type"]) == ("error", "authentication_error")


def test_an_unknown_model_is_not_found(client: anthropic.Anthropic) -> None:
    """404, with the id of the request."""
    with pytest.raises(anthropic.NotFoundError) as caught:
        client.messages.create(model="nobody", max_tokens=3, messages=HI)
    body: Any = caught.value.body
    assert body["error"]["type"] == "not_found_error"
    assert body["request_id"] == caught.value.request_id


def test_a_wrong_value_is_a_bad_request(client: anthropic.Anthropic) -> None:
    """Naming its field."""
    with pytest.raises(anthropic.BadRequestError) as caught:
        client.messages.create(model="words", max_tokens=0, messages=HI)
    body: Any = caught.value.body
    assert body["error"]["type"] == "invalid_request_error"
    assert "max_tokens" in body["error"]["message"]


def test_a_prompt_too_long_is_a_bad_request(client: anthropic.Anthropic) -> None:
    """In words by which Claude Code knows it."""
    with pytest.raises(anthropic.BadRequestError) as caught:
        client.messages.create(
            model="words", max_tokens=3, messages=[{"role": "user", "content": "word " * 4000}]
        )
    body: Any = caught.value.body
    assert "prompt is too long" in body["error"]["message"].lower()


def test_a_busy_engine_is_an_overload(
    client: anthropic.Anthropic, actor: str, engine: ActingEngine
) -> None:
    """529 in Anthropic's words, with the engine's Retry-After."""
    engine.refusals.append(BUSY)
    with pytest.raises(anthropic.APIStatusError) as caught:
        client.messages.create(model=actor, max_tokens=64, messages=HI)
    body: Any = caught.value.body
    assert (caught.value.status_code, body["error"]["type"]) == (529, "overloaded_error")
    assert caught.value.response.headers["retry-after"] == "1"


def test_an_overload_is_tried_again(house: House, actor: str, engine: ActingEngine) -> None:
    """By the SDK itself: two requests at the engine, one answer."""
    before = len(engine.chats)
    engine.refusals.append(BUSY)
    with sdk(house, max_retries=2) as patient:
        answer = patient.messages.create(model=actor, max_tokens=64, messages=HI)
    assert answer.content[0].to_dict()["text"] == TEXT
    assert len(engine.chats) - before == 2


def test_a_stream_that_breaks_is_an_error(
    client: anthropic.Anthropic, house: House, engine: ActingEngine
) -> None:
    """What was said arrives; then an `error` event, which the SDK raises."""
    said = ""
    with (
        pytest.raises(anthropic.APIStatusError) as caught,
        client.messages.stream(
            model=house.name(engine, "breaker"), max_tokens=64, messages=HI
        ) as stream,
    ):
        for text in stream.text_stream:
            said += text
    body: Any = caught.value.body
    assert said == "Grüße aus"
    assert (body["type"], body["error"]["type"]) == ("error", "api_error")
