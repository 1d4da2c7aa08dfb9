"""Ollama's own client and LangChain's against a started FLM, the real llama.cpp behind it."""

from __future__ import annotations

from collections.abc import Iterator

import ollama
import pytest
from e2e_engines import QWEN, SENTENCE
from e2e_house import House
from langchain_ollama import ChatOllama

HI = [{"role": "user", "content": "hi"}]


def address(house: House) -> str:
    """The base URL without `/v1`."""
    return house.served.base_url.removesuffix("/v1")


@pytest.fixture
def client(house: House) -> Iterator[ollama.Client]:
    """Set up as its documents say: an address and a key."""
    with ollama.Client(
        host=address(house), headers={"authorization": f"Bearer {house.key}"}
    ) as made:
        yield made


def test_a_chat_says_the_sentence_word_for_word(client: ollama.Client) -> None:
    """Japanese and emoji included, with its counts and llama.cpp's own durations."""
    answer = client.chat("words", HI)
    assert answer.message.content == SENTENCE
    assert (answer.done_reason, answer.prompt_eval_count, answer.eval_count) == ("stop", 21, 24)
    assert answer.eval_duration


def test_a_streamed_chat_says_the_same(client: ollama.Client) -> None:
    """In more than one piece, and the last one says that it is."""
    parts = list(client.chat("words", HI, stream=True))
    assert "".join(part.message.content or "" for part in parts) == SENTENCE
    assert len(parts) > 10
    assert (parts[-1].done, parts[-1].eval_count) == (True, 24)


def test_options_reach_the_engine(client: ollama.Client) -> None:
    """A limit of tokens, and a stop string in Japanese."""
    short = client.chat("words", HI, options={"num_predict": 3, "num_ctx": 512})
    assert (short.message.content, short.done_reason) == ("Say it twice: ", "length")
    ended = client.chat("words", HI, options={"stop": ["世界"]})
    assert ended.message.content == "Say it twice: 日本語のテスト、こんにちは"


def test_generate_answers_with_and_without_a_template(client: ollama.Client) -> None:
    """A question as a chat, a raw prompt as a completion, streamed and whole."""
    assert client.generate("words", "hi").response == SENTENCE
    parts = list(client.generate("words", "hi", stream=True))
    assert "".join(part.response or "" for part in parts) == SENTENCE
    raw = client.generate("words", "hi", raw=True, options={"num_predict": 4})
    assert (raw.done_reason, raw.eval_count) == ("length", 4)
    streamed = list(client.generate("words", "hi", raw=True, stream=True, options={"seed": 1}))
    assert streamed[-1].done
    assert "".join(part.response or "" for part in streamed)


def test_models_are_listed_shown_and_loaded(client: ollama.Client) -> None:
    """Under the names by which they are asked."""
    names = [model.model for model in client.list().models]
    assert {"words", QWEN, "embedder"} <= set(names)
    shown = client.show(QWEN)
    assert shown.modelinfo is not None
    assert shown.modelinfo["general.architecture"] == "flm"
    assert client.generate("words").done_reason == "load"
    assert "words" in [model.name for model in client.ps().models]


def test_texts_are_embedded(client: ollama.Client) -> None:
    """One vector for each, all of one length."""
    found = client.embed("embedder", ["a", "日本"])
    assert len(found.embeddings) == 2
    assert len(found.embeddings[0]) == len(found.embeddings[1]) > 0
    assert client.embeddings("embedder", "a").embedding == found.embeddings[0]


def test_langchain_streams(house: House) -> None:
    """Its class for Ollama, with the tokens it counts."""
    talker = ChatOllama(
        model="words",
        base_url=address(house),
        client_kwargs={"headers": {"authorization": f"Bearer {house.key}"}},
    )
    # It has no way of its own to close its connections.
    with talker._client:
        said = talker.invoke("hi")
    assert said.content == SENTENCE
    assert said.usage_metadata is not None
    assert said.usage_metadata["output_tokens"] == 24
