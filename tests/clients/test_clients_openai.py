"""OpenAI's SDK: chats, tools, structured output, thoughts, logprobs, embeddings, models."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import openai
from clients_engines import ActingEngine
from clients_house import PIXEL, SENTENCE, SENTENCE_TOKENS, WEATHER, House
from clients_openai import BOTH, HI, Thing
from clients_stage import REFUSAL, TEXT, THOUGHT
from openai.types.chat import ChatCompletionMessageParam

TOOLS: list[Any] = [
    {"type": "function", "function": {"name": "get_weather", "parameters": WEATHER}}
]


# Chats.


def test_a_real_model_is_heard_word_for_word(client: openai.OpenAI) -> None:
    """Japanese and emoji included; whole and streamed, with the usage."""
    whole = client.chat.completions.create(model="words", messages=HI)
    with client.chat.completions.stream(
        model="words", messages=HI, stream_options={"include_usage": True}
    ) as stream:
        final = stream.get_final_completion()
    assert whole.choices[0].message.content == SENTENCE
    assert final.choices[0].message.content == SENTENCE
    assert (whole.choices[0].finish_reason, final.choices[0].finish_reason) == ("stop", "stop")
    assert whole.usage is not None
    assert final.usage is not None
    assert whole.usage.completion_tokens == final.usage.completion_tokens == SENTENCE_TOKENS
    assert (whole.model, final.model) == ("words", "words")


def test_a_stream_comes_in_the_engines_pieces(client: openai.OpenAI, actor: str) -> None:
    """And names the model as it was asked for, whatever the engine calls it."""
    chunks = list(client.chat.completions.create(model=actor, messages=HI, stream=True))
    said = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    assert [piece for piece in said if piece] == ["Grüße", " aus", " 東京", " 😀."]
    assert {chunk.model for chunk in chunks} == {actor}
    assert all(chunk.usage is None for chunk in chunks)


async def test_the_async_client_is_served_alike(house: House, engine: ActingEngine) -> None:
    """Whole and streamed, on both engines."""
    name = house.name(engine, "actor")
    async with openai.AsyncOpenAI(base_url=house.base_url, api_key=house.key) as client:
        whole = await client.chat.completions.create(model=name, messages=HI)
        async with client.chat.completions.stream(model=name, messages=HI) as stream:
            final = await stream.get_final_completion()
    assert whole.choices[0].message.content == TEXT
    assert final.choices[0].message.content == TEXT


def test_tools_are_called_and_answered(client: openai.OpenAI, actor: str) -> None:
    """Two calls at once, each with an id, arguments as text; their results come back to it."""
    first = client.chat.completions.create(model=actor, messages=BOTH, tools=TOOLS)
    message = first.choices[0].message
    assert first.choices[0].finish_reason == "tool_calls"
    assert message.tool_calls is not None
    calls = [(each.id, each.function) for each in message.tool_calls if each.type == "function"]
    assert [json.loads(each.arguments) for _, each in calls] == [{"city": "東京"}, {"city": "Köln"}]
    assert {each.name for _, each in calls} == {"get_weather"}
    assert len({id_ for id_, _ in calls}) == 2
    results: list[ChatCompletionMessageParam] = [
        {"role": "tool", "tool_call_id": id_, "content": told}
        for (id_, _), told in zip(calls, ("晴れ", "rain"), strict=True)
    ]
    history: Any = [*BOTH, message, *results]
    last = client.chat.completions.create(model=actor, messages=history, tools=TOOLS)
    assert last.choices[0].message.content == "It is 晴れ and rain."
    assert last.choices[0].finish_reason == "stop"


def test_streamed_tool_calls_are_put_together_by_the_sdk(client: openai.OpenAI, actor: str) -> None:
    """Two of them, from whatever pieces the engine sends."""
    with client.chat.completions.stream(model=actor, messages=BOTH, tools=TOOLS) as stream:
        done = [event for event in stream if event.type == "tool_calls.function.arguments.done"]
        final = stream.get_final_completion()
    assert [json.loads(event.arguments) for event in done] == [{"city": "東京"}, {"city": "Köln"}]
    assert final.choices[0].finish_reason == "tool_calls"
    assert [each.index for each in done] == [0, 1]


def test_a_pydantic_model_is_filled(client: openai.OpenAI, actor: str) -> None:
    """`parse` sends a strict JSON schema, and reads what comes; streamed too."""
    whole = client.chat.completions.parse(model=actor, messages=HI, response_format=Thing)
    with client.chat.completions.stream(model=actor, messages=HI, response_format=Thing) as stream:
        final = stream.get_final_completion()
    assert whole.choices[0].message.parsed == Thing(name="灯台", height=31)
    assert final.choices[0].message.parsed == Thing(name="灯台", height=31)


def test_a_real_model_is_held_to_a_schema(client: openai.OpenAI) -> None:
    """llama.cpp's grammar makes even the sentence a JSON object of that schema."""
    form: Any = {
        "type": "json_schema",
        "json_schema": {
            "name": "answer",
            "strict": True,
            "schema": {
                "type": "object",
                "properties": {"ok": {"type": "boolean"}},
                "required": ["ok"],
                "additionalProperties": False,
            },
        },
    }
    answer = client.chat.completions.create(
        model="words", messages=HI, response_format=form, max_tokens=64
    )
    assert type(json.loads(answer.choices[0].message.content or "")["ok"]) is bool


def test_a_picture_arrives(client: openai.OpenAI, actor: str) -> None:
    """As a data URL, beside its question."""
    content: Any = [
        {"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
    ]
    answer = client.chat.completions.create(
        model=actor, messages=[{"role": "user", "content": content}]
    )
    assert answer.choices[0].message.content == "1 picture."


def test_thoughts_come_under_both_names(
    client: openai.OpenAI, house: House, engine: ActingEngine
) -> None:
    """`reasoning_content` and `reasoning`, whole and streamed, and never within the text."""
    name = house.name(engine, "thinker")
    whole = client.chat.completions.create(model=name, messages=HI, reasoning_effort="medium")
    chunks = list(
        client.chat.completions.create(
            model=name, messages=HI, reasoning_effort="medium", stream=True
        )
    )
    message = whole.choices[0].message.model_dump()
    deltas = [chunk.choices[0].delta.model_dump() for chunk in chunks if chunk.choices]
    for field in ("reasoning_content", "reasoning"):
        assert message[field] == THOUGHT
        assert "".join(delta.get(field) or "" for delta in deltas) == THOUGHT
    assert message["content"] == "42."
    assert "".join(delta.get("content") or "" for delta in deltas) == "42."


def test_a_refusal_is_one(client: openai.OpenAI) -> None:
    """It stands in a field of its own, whole and streamed."""
    whole = client.chat.completions.create(model="stage/refuser", messages=HI)
    with client.chat.completions.stream(model="stage/refuser", messages=HI) as stream:
        final = stream.get_final_completion()
    for message in (whole.choices[0].message, final.choices[0].message):
        assert (message.refusal, message.content or "") == (REFUSAL, "")


def test_logprobs_of_each_piece(client: openai.OpenAI) -> None:
    """From an engine that has them, whole and streamed; a real llama.cpp has them too."""
    whole = client.chat.completions.create(model="stage/actor", messages=HI, logprobs=True)
    chunks = client.chat.completions.create(
        model="stage/actor", messages=HI, logprobs=True, stream=True
    )
    streamed = [each.choices[0].logprobs for each in chunks if each.choices]
    real = client.chat.completions.create(
        model="words", messages=HI, logprobs=True, top_logprobs=2, max_tokens=3
    )
    assert whole.choices[0].logprobs is not None
    assert [each.token for each in whole.choices[0].logprobs.content or ()] == [TEXT]
    pieces = [token.token for each in streamed if each for token in each.content or ()]
    assert pieces == ["Grüße", " aus", " 東京", " 😀."]
    assert real.choices[0].logprobs is not None
    found = real.choices[0].logprobs.content or []
    assert [len(each.top_logprobs) for each in found] == [2, 2, 2]


def test_usage_tells_what_was_cached_and_thought(client: openai.OpenAI) -> None:
    """As the engine counts it."""
    answer = client.chat.completions.create(model="stage/actor", messages=HI)
    usage = answer.usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (9, 4, 13)
    assert usage.prompt_tokens_details is not None
    assert usage.completion_tokens_details is not None
    assert usage.prompt_tokens_details.cached_tokens == 5
    assert usage.completion_tokens_details.reasoning_tokens == 2


def test_a_request_is_found_in_the_logs_by_the_id_the_sdk_gives(
    client: openai.OpenAI, house: House, engine: ActingEngine
) -> None:
    """With its tokens, though the client asked for none of them in its stream."""
    raw = client.chat.completions.with_raw_response.create(
        model=house.name(engine, "actor"), messages=HI, stream=True
    )
    list(raw.parse())
    record = house.flm.record(str(raw.request_id))
    assert (record["status"], record["tokens_in"], record["tokens_out"]) == (200, 9, 4)


def test_completions_of_a_plain_prompt(client: openai.OpenAI) -> None:
    """The older API, whole and streamed, on the real llama.cpp."""
    whole = client.completions.create(model="words", prompt="hi", max_tokens=3)
    chunks = client.completions.create(model="words", prompt="hi", max_tokens=3, stream=True)
    assert whole.choices[0].text == "Say it twice: "
    assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices) == "Say it twice: "


# Embeddings.


def test_embeddings_in_base64_and_in_floats(client: openai.OpenAI, actor: str) -> None:
    """The SDK asks for base64 unless told otherwise; the engines answer floats only."""
    usual = client.embeddings.create(model=actor, input=["a", "b"])
    floats = client.embeddings.create(model=actor, input="a", encoding_format="float")
    packed = client.embeddings.create(model=actor, input="a", encoding_format="base64")
    assert [each.embedding for each in usual.data] == [[0.5, -0.25, 0.75]] * 2
    assert floats.data[0].embedding == [0.5, -0.25, 0.75]
    raw: Any = packed.data[0].embedding
    assert struct.unpack("<3f", base64.b64decode(raw)) == (0.5, -0.25, 0.75)
    assert usual.usage.prompt_tokens == 3


def test_embeddings_of_a_real_model(client: openai.OpenAI) -> None:
    """One for each text, of its width."""
    answer = client.embeddings.create(model="embedder", input=["a", "b"])
    assert [len(each.embedding) for each in answer.data] == [64, 64]


def test_the_list_of_models_and_one_of_them(client: openai.OpenAI) -> None:
    """By any name that answers."""
    names = [model.id for model in client.models.list()]
    assert {"words", "embedder", "actor", "actor:latest", "thinker"} <= set(names)
    assert client.models.retrieve("stage/actor").owned_by == "stage"
