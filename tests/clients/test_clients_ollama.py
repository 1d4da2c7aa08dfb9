"""Ollama's own package: chats, generations, embeddings, lists, tools, thoughts and errors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import ollama
import pytest
from clients_engines import ActingEngine, refusal
from clients_house import (
    PIXEL,
    PIXEL_BYTES,
    SENTENCE,
    SENTENCE_TOKENS,
    THING,
    WEATHER,
    WHERE,
    House,
)
from clients_stage import PIECES, TEXT, THOUGHT

HI: list[dict[str, Any]] = [{"role": "user", "content": "hi"}]
BOTH: list[dict[str, Any]] = [{"role": "user", "content": WHERE}]
TOOLS: list[dict[str, Any]] = [
    {"type": "function", "function": {"name": "get_weather", "parameters": WEATHER}}
]


@pytest.fixture(scope="module")
def client(house: House) -> Iterator[ollama.Client]:
    """The package's client, pointed at FLM by its address and a key."""
    headers = {"authorization": f"Bearer {house.key}"}
    with ollama.Client(host=house.root, headers=headers, timeout=30) as made:
        yield made


# Chats.


def test_a_real_model_is_heard_word_for_word(client: ollama.Client) -> None:
    """Whole and streamed, with the counts."""
    whole = client.chat("words", HI)
    parts = list(client.chat("words", HI, stream=True))
    assert whole.message.content == SENTENCE
    assert "".join(part.message.content or "" for part in parts) == SENTENCE
    assert (whole.done_reason, parts[-1].done_reason) == ("stop", "stop")
    assert (whole.eval_count, parts[-1].eval_count) == (SENTENCE_TOKENS, SENTENCE_TOKENS)
    assert (whole.prompt_eval_count, parts[-1].prompt_eval_count) == (21, 21)
    assert [part.done for part in parts[-2:]] == [False, True]


def test_a_stream_comes_in_the_engines_pieces(client: ollama.Client, actor: str) -> None:
    """Each line names the model as it was asked for."""
    parts = list(client.chat(actor, HI, stream=True))
    assert tuple(part.message.content for part in parts if part.message.content) == PIECES
    assert {part.model for part in parts} == {actor}


def test_a_limit_of_tokens_is_told(client: ollama.Client) -> None:
    """`num_predict`, by the real model."""
    answer = client.chat("words", HI, options={"num_predict": 3})
    assert (answer.message.content, answer.done_reason) == ("Say it twice: ", "length")


def test_generations_of_a_prompt(client: ollama.Client, actor: str) -> None:
    """Whole and streamed, with a system text."""
    whole = client.generate(actor, "hi", system="Be brief.")
    parts = list(client.generate("words", "hi", stream=True))
    assert whole.response == TEXT
    assert "".join(part.response for part in parts) == SENTENCE
    assert parts[-1].done_reason == "stop"


async def test_the_async_client_is_served_alike(house: House, engine: ActingEngine) -> None:
    """Streamed, on both engines."""
    headers = {"authorization": f"Bearer {house.key}"}
    async with ollama.AsyncClient(host=house.root, headers=headers) as client:
        stream = await client.chat(house.name(engine, "actor"), HI, stream=True)
        said = "".join([part.message.content or "" async for part in stream])
    assert said == TEXT


def test_tools_are_called_and_answered(client: ollama.Client, actor: str) -> None:
    """Two calls at once, arguments as objects; whole, streamed, and back again."""
    whole = client.chat(actor, BOTH, tools=TOOLS)
    parts = list(client.chat(actor, BOTH, tools=TOOLS, stream=True))
    streamed = [call for part in parts for call in part.message.tool_calls or ()]
    for calls in (whole.message.tool_calls or (), streamed):
        assert [(call.function.name, dict(call.function.arguments)) for call in calls] == [
            ("get_weather", {"city": "東京"}),
            ("get_weather", {"city": "Köln"}),
        ]
    history: list[Any] = [
        *BOTH,
        whole.message,
        {"role": "tool", "tool_name": "get_weather", "content": "晴れ"},
        {"role": "tool", "tool_name": "get_weather", "content": "rain"},
    ]
    last = client.chat(actor, history, tools=TOOLS)
    assert last.message.content == "It is 晴れ and rain."


def test_a_python_function_is_a_tool(client: ollama.Client, actor: str) -> None:
    """The package makes the schema of it."""

    def get_weather(city: str) -> str:
        """Tell the weather.

        Args:
            city: Where.
        """
        return city

    answer = client.chat(actor, HI, tools=[get_weather])
    (call,) = answer.message.tool_calls or ()
    assert get_weather(**call.function.arguments) == "東京"


def test_thoughts_stand_apart(client: ollama.Client, house: House, engine: ActingEngine) -> None:
    """In a field of their own, whole and streamed."""
    name = house.name(engine, "thinker")
    whole = client.chat(name, HI, think=True)
    parts = list(client.chat(name, HI, think=True, stream=True))
    assert (whole.message.thinking, whole.message.content) == (THOUGHT, "42.")
    assert "".join(part.message.thinking or "" for part in parts) == THOUGHT
    assert "".join(part.message.content or "" for part in parts) == "42."


def test_a_schema_is_obeyed(client: ollama.Client, actor: str) -> None:
    """`format` with a JSON schema, as `model_json_schema` makes it."""
    answer = client.chat(actor, HI, format=THING)
    assert json.loads(answer.message.content or "") == {"name": "灯台", "height": 31}


@pytest.mark.parametrize("picture", [PIXEL, PIXEL_BYTES], ids=["base64", "bytes"])
def test_a_picture_arrives(client: ollama.Client, actor: str, picture: str | bytes) -> None:
    """Beside its question."""
    message = {"role": "user", "content": "What is it?", "images": [picture]}
    assert client.chat(actor, [message]).message.content == "1 picture."


# Embeddings and lists.


def test_embeddings(client: ollama.Client, actor: str) -> None:
    """Of one text and of several; the older call too; and a real model's."""
    assert client.embed(actor, ["a", "b"]).embeddings == [[0.5, -0.25, 0.75]] * 2
    assert client.embeddings(actor, "a").embedding == [0.5, -0.25, 0.75]
    assert len(client.embed("embedder", "a").embeddings[0]) == 64


def test_what_there_is(client: ollama.Client) -> None:
    """All models of all engines, with what Ollama's clients look for."""
    found = {model.model: model for model in client.list().models}
    assert {"words", "embedder", "actor", "actor:latest"} <= set(found)
    assert all(model.digest and model.modified_at and model.details for model in found.values())


def test_what_a_model_can(client: ollama.Client) -> None:
    """Its capabilities and its context."""
    shown = client.show("ollama/thinker:latest")
    assert shown.capabilities == ["completion", "tools", "thinking"]
    words = client.show("words")
    assert words.modelinfo is not None
    assert words.modelinfo["flm.context_length"] == 2048


def test_what_is_loaded(client: ollama.Client) -> None:
    """The real model, once it has answered."""
    client.chat("words", HI, options={"num_predict": 1})
    assert "words" in [model.model for model in client.ps().models]


# Errors.


def test_an_unknown_model_is_a_404(client: ollama.Client) -> None:
    """In the words by which clients offer to pull it."""
    with pytest.raises(ollama.ResponseError) as caught:
        client.chat("nobody", HI)
    assert caught.value.status_code == 404
    assert "nobody" in caught.value.error


def test_nothing_is_pulled(client: ollama.Client) -> None:
    """501, and why."""
    with pytest.raises(ollama.ResponseError) as caught:
        client.pull("nobody")
    assert caught.value.status_code == 501


def test_a_wrong_key_is_refused(house: House) -> None:
    """401 in Ollama's shape."""
    stranger = ollama.Client(host=house.root, headers={"authorization": "Bearer flm_wrong"})
    with stranger, pytest.raises(ollama.ResponseError) as caught:
        stranger.chat("words", HI)
    assert caught.value.status_code == 401


def test_a_busy_engine_is_a_503(client: ollama.Client, actor: str, engine: ActingEngine) -> None:
    """As Ollama says it itself."""
    engine.refusals.append(refusal("503 Service Unavailable", {"error": "server busy"}))
    with pytest.raises(ollama.ResponseError) as caught:
        client.chat(actor, HI)
    assert caught.value.status_code == 503


def test_a_stream_that_breaks_is_an_error(
    client: ollama.Client, house: House, engine: ActingEngine
) -> None:
    """What was said arrives; then a line with an error, which the package raises."""
    said = ""
    with pytest.raises(ollama.ResponseError, match="in the middle of its answer"):
        for part in client.chat(house.name(engine, "breaker"), HI, stream=True):
            said += part.message.content or ""
    assert said == "Grüße aus"
