"""The real `openai` SDK against a started FLM: real llama.cpp, known words, recorded engines."""

from __future__ import annotations

import base64
import json
import struct

import openai
import pytest
from e2e_engines import QWEN, SENTENCE, WORDS
from e2e_house import CHAT, House, call, chat
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletionChunk, ChatCompletionMessageParam

HI: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hi"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


def said(chunks: list[ChatCompletionChunk]) -> str:
    """The text of a stream."""
    return "".join(each.choices[0].delta.content or "" for each in chunks if each.choices)


def reasons(chunks: list[ChatCompletionChunk]) -> list[str]:
    """The finish reasons a stream gave."""
    found = [each.choices[0].finish_reason for each in chunks if each.choices]
    return [reason for reason in found if reason is not None]


# The embedded engine.


def test_a_chat_says_the_sentence_word_for_word(house: House) -> None:
    """Japanese and emoji included, with the reason it ended, the usage and the model asked for."""
    with house.client() as client:
        answer = client.chat.completions.create(model="words", messages=HI)
    assert answer.choices[0].message.content == SENTENCE
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == "words"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (21, 24)


def test_a_streamed_chat_says_the_same(house: House) -> None:
    """In more than one piece, whole characters each, ended once, usage last when asked for."""
    with house.client() as client:
        chunks = list(
            client.chat.completions.create(
                model="words", messages=HI, stream=True, stream_options={"include_usage": True}
            )
        )
    pieces = [each.choices[0].delta.content or "" for each in chunks if each.choices]
    assert said(chunks) == SENTENCE
    assert {"😀", "🎉"} <= set(pieces)
    assert reasons(chunks) == ["stop"]
    assert {each.model for each in chunks} == {"words"}
    assert chunks[-1].usage is not None
    assert (chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens) == (21, 24)


def test_a_stop_string_ends_the_sentence_before_it(house: House) -> None:
    """Also one in Japanese, in the middle of a token, streamed and whole alike."""
    with house.client() as client:
        whole = client.chat.completions.create(model="words", messages=HI, stop=["世界"])
        chunks = list(
            client.chat.completions.create(model="words", messages=HI, stop=["世界"], stream=True)
        )
    assert whole.choices[0].message.content == "Say it twice: 日本語のテスト、こんにちは"
    assert said(chunks) == "Say it twice: 日本語のテスト、こんにちは"
    assert (whole.choices[0].finish_reason, reasons(chunks)) == ("stop", ["stop"])


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_a_limit_of_tokens_ends_the_sentence_with_length(house: House, field: str) -> None:
    """Three tokens, under both names the limit has."""
    with house.client() as client:
        answer = client.chat.completions.create(
            model="words", messages=HI, extra_body={field: 3}, stream=False
        )
    assert answer.choices[0].message.content == "Say it twice: "
    assert answer.choices[0].finish_reason == "length"


async def test_the_async_client_is_served_alike(house: House) -> None:
    """Whole and streamed."""
    async with AsyncOpenAI(base_url=house.served.base_url, api_key=house.key) as client:
        whole = await client.chat.completions.create(model="words", messages=HI)
        stream = await client.chat.completions.create(model="words", messages=HI, stream=True)
        chunks = [chunk async for chunk in stream]
    assert whole.choices[0].message.content == SENTENCE
    assert said(chunks) == SENTENCE


def test_embeddings_come_in_base64_by_default_and_in_floats(house: House) -> None:
    """The SDK asks for base64 by itself: both forms hold the same numbers."""
    with house.client() as client:
        usual = client.embeddings.create(model="embedder", input=["a", "b"])
        floats = client.embeddings.create(
            model="embedder", input=["a", "b"], encoding_format="float"
        )
    assert [len(each.embedding) for each in usual.data] == [64, 64]
    assert usual.model == "embedder"
    assert usual.usage.prompt_tokens == 4
    assert usual.data[1].embedding == pytest.approx(floats.data[1].embedding, abs=1e-6)


def test_base64_on_the_wire_is_little_endian_floats(house: House) -> None:
    """What other clients than the SDK read: RFC 4648 of 4 bytes a number."""
    body = {"model": "embedder", "input": "a", "encoding_format": "base64"}
    answer = call(house.served.port, "/v1/embeddings", house.key, body)
    packed = base64.b64decode(answer.json["data"][0]["embedding"], validate=True)
    assert len(struct.unpack("<64f", packed)) == 64


def test_the_demo_model_answers(house: House) -> None:
    """Its words are gibberish; that there are some is what it proves."""
    with house.client() as client:
        answer = client.chat.completions.create(model="flm-demo", messages=HI, max_tokens=8)
    assert answer.model == "flm-demo"
    assert answer.usage is not None
    assert answer.usage.completion_tokens > 0


def test_a_name_with_a_slash_is_retrieved_and_answers(house: House) -> None:
    """The SDK sends `Qwen%2FQwen3-8B`; the answer names it as it was asked for."""
    with house.client() as client:
        found = client.models.retrieve(QWEN)
        answer = client.chat.completions.create(model=QWEN, messages=HI)
    assert found.id == "Qwen/Qwen3-8B"
    assert (answer.model, answer.choices[0].message.content) == ("Qwen/Qwen3-8B", WORDS)


@pytest.mark.parametrize("name", [f"embedded/{QWEN}", f"flm://embedded/{QWEN}"])
def test_a_model_answers_under_its_engines_name_too(house: House, name: str) -> None:
    """And the answer names what was asked for."""
    with house.client() as client:
        answer = client.chat.completions.create(model=name, messages=HI)
    assert (answer.model, answer.choices[0].message.content) == (name, WORDS)


def test_every_model_of_every_engine_is_listed(house: House) -> None:
    """Once each; Ollama's cloud models are not."""
    with house.client() as client:
        names = sorted(each.id for each in client.models.list())
    assert names == [
        "Qwen/Qwen3-8B",
        "embedder",
        "endless",
        "flm-demo",
        "scripted-think:latest",
        "scripted-tools:latest",
        "shared",
        "slow",
        "tiny-embed:latest",
        "tiny:latest",
        "words",
    ]


# Other engines.


def test_ollama_found_by_its_variable_is_listed_and_thinks(house: House) -> None:
    """`OLLAMA_HOST` alone: no port of it is the usual one."""
    with house.client() as client:
        answer = client.chat.completions.create(model="scripted-think:latest", messages=HI)
    assert answer.choices[0].message.content == "Hello there friend!"
    assert answer.choices[0].message.model_extra is not None
    assert answer.choices[0].message.model_extra["reasoning_content"] == "The user greets me."
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (52, 10)


def test_ollama_streams(house: House) -> None:
    """NDJSON becomes events; the last one tells why it ended."""
    with house.client() as client:
        chunks = list(
            client.chat.completions.create(model="scripted-think:latest", messages=HI, stream=True)
        )
    assert said(chunks) == "Hello there friend!"
    assert reasons(chunks) == ["stop"]


@pytest.mark.parametrize("stream", [False, True])
def test_ollama_calls_a_tool(house: House, stream: bool) -> None:
    """The tool reaches it in its own form, the call comes back in OpenAI's."""
    body = chat("scripted-tools:latest", tools=[WEATHER], stream=stream)
    text = call(house.served.port, CHAT, house.key, body).body.decode()
    assert json.loads(house.ollama.seen[-1].body)["tools"] == [WEATHER]
    assert '"name":"get_weather"' in text
    assert '"arguments":"{\\"city\\":\\"Tokyo\\"}"' in text
    assert '"finish_reason":"tool_calls"' in text


def test_ollama_never_cuts_a_prompt_in_silence(house: House) -> None:
    """What does not fit is a 400 with both numbers and what to do."""
    with house.client() as client, pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="tiny:latest", messages=HI)
    assert caught.value.code == "context_length_exceeded"
    assert "30020 tokens" in caught.value.message
    assert "2048 tokens" in caught.value.message
    assert "engines.ollama.num_ctx" in caught.value.message
    assert json.loads(house.ollama.seen[-1].body)["truncate"] is False


def test_ollama_dying_in_the_middle_is_an_error_to_the_sdk(house: House) -> None:
    """The SDK raises, and the record says it failed."""
    with house.client() as client:
        raw = client.chat.completions.with_raw_response.create(
            model="tiny:latest", messages=HI, stream=True
        )
        with pytest.raises(openai.APIError) as caught:
            list(raw.parse())
    assert caught.value.code == "engine_error"
    record = house.flm.record(raw.headers["x-request-id"])
    assert (record["status"], record["error"]) == (200, "engine_error")


def test_tools_and_unknown_fields_reach_an_openai_engine_as_they_are(house: House) -> None:
    """Everything arrives; the model is the engine's own name for it."""
    with house.client() as client:
        client.chat.completions.create(
            model="switch/shared",
            messages=HI,
            tools=[WEATHER],  # type: ignore[list-item]
            tool_choice="auto",
            seed=7,
            response_format={"type": "json_object"},
            extra_body={"min_p": 0.05},
        )
    sent = house.switch.asked[-1]
    assert sent["tools"] == [WEATHER]
    assert (sent["tool_choice"], sent["seed"], sent["min_p"]) == ("auto", 7, 0.05)
    assert sent["response_format"] == {"type": "json_object"}
    assert sent["model"] == "shared"


def test_the_clients_key_never_reaches_an_engine(house: House) -> None:
    """Neither in a header nor anywhere else."""
    with house.client(default_headers={"x-forwarded-for": "6.6.6.6"}) as client:
        client.chat.completions.create(model="switch/shared", messages=HI)
    seen = house.switch.seen[-1]
    assert "authorization" not in seen.headers
    assert "x-forwarded-for" not in seen.headers
    assert house.key.encode() not in seen.body


def test_one_model_on_two_engines_has_two_homes(house: House) -> None:
    """Listed once with both; while one is busy the other answers."""
    house.switch.go.clear()
    house.second.go.clear()
    before = house.switch.waiting + house.second.waiting
    with house.client() as client:
        found = client.models.retrieve("slow")
        streams = [
            client.chat.completions.create(model="slow", messages=HI, stream=True) for _ in range(2)
        ]
        waiting = house.switch.waiting, house.second.waiting
        house.switch.go.set()
        house.second.go.set()
        texts = [said(list(stream)) for stream in streams]
    assert found.model_extra is not None
    assert found.model_extra["engines"] == ["second", "switch"]
    assert sum(waiting) == before + 2
    assert min(waiting) >= 1
    assert texts == ["first last", "first last"]


# Errors.


def test_an_unknown_model_is_named_with_the_nearest(house: House) -> None:
    """404 `model_not_found`."""
    with house.client() as client, pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="wrods", messages=HI)
    assert caught.value.code == "model_not_found"
    assert "'words'" in caught.value.message


def test_an_unknown_model_cannot_be_retrieved(house: House) -> None:
    """The same error."""
    with house.client() as client, pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("Qwen/Qwen3-8")
    assert caught.value.code == "model_not_found"
    assert "'Qwen/Qwen3-8B'" in caught.value.message


@pytest.mark.parametrize("key", ["flm_0123456789_" + "x" * 49, "sk-something", "flm_x"])
def test_a_bad_key_is_the_same_refusal_whatever_is_wrong_with_it(house: House, key: str) -> None:
    """Nobody learns which keys exist."""
    with (
        OpenAI(base_url=house.served.base_url, api_key=key, max_retries=0) as client,
        pytest.raises(openai.AuthenticationError) as caught,
    ):
        client.models.list()
    assert caught.value.code == "invalid_api_key"
    assert caught.value.response.json() == call(house.served.port, "/v1/models").json


def test_a_bad_temperature_names_the_field(house: House) -> None:
    """400, refused before any engine is asked."""
    with house.client() as client, pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="words", messages=HI, temperature=9)
    assert (caught.value.code, caught.value.param) == ("invalid_value", "temperature")


@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_that_is_too_long_is_refused_with_both_numbers(house: House, stream: bool) -> None:
    """The real llama.cpp's count and its context; a stream fails before it begins."""
    with house.client() as client, pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(
            model="words", messages=[{"role": "user", "content": "word " * 1000}], stream=stream
        )
    assert caught.value.code == "context_length_exceeded"
    assert "5019 tokens" in caught.value.message
    assert "2048 tokens" in caught.value.message


def test_every_answer_has_a_request_id_and_a_record_under_it(house: House) -> None:
    """Streams, whole answers and errors alike; neither prompt nor answer is in the record."""
    with house.client() as client:
        answer = client.chat.completions.with_raw_response.create(model="words", messages=HI)
        with pytest.raises(openai.NotFoundError) as caught:
            client.chat.completions.create(model="wrods", messages=HI)
    good = house.flm.record(answer.headers["x-request-id"])
    bad = house.flm.record(caught.value.response.headers["x-request-id"])
    assert (good["status"], good["model"], good["engine"]) == (200, "words", "embedded")
    assert (good["tokens_in"], good["tokens_out"], good["error"]) == (21, 24, None)
    assert (bad["status"], bad["error"]) == (404, "model_not_found")
