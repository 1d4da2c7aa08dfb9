"""LangChain's classes for OpenAI's and for Ollama's API."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import openai
import pytest
from clients_engines import ActingEngine
from clients_house import PIXEL, SENTENCE, SENTENCE_TOKENS, WHERE, House
from clients_stage import PIECES, TEXT, THOUGHT
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_ollama import ChatOllama, OllamaEmbeddings
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel


class Thing(BaseModel):
    """A thing with a height."""

    name: str
    height: int


@tool
def get_weather(city: str) -> str:
    """Tell the weather of a city."""
    return {"東京": "晴れ", "Köln": "rain"}[city]


Make = Callable[..., BaseChatModel]


@pytest.fixture
async def by_openai(house: House) -> AsyncIterator[Make]:
    """LangChain's class for OpenAI's API, over connections that are closed afterwards."""
    with openai.DefaultHttpxClient() as http:
        async with openai.DefaultAsyncHttpxClient() as http_async:
            yield partial(
                ChatOpenAI,
                base_url=house.base_url,
                api_key=lambda: house.key,
                http_client=http,
                http_async_client=http_async,
                timeout=30,
            )


@pytest.fixture
async def by_ollama(house: House) -> AsyncIterator[Make]:
    """LangChain's class for Ollama's API, which leaves its connections open unless reached into."""
    headers = {"authorization": f"Bearer {house.key}"}
    opened: list[Any] = []

    def make(**more: Any) -> BaseChatModel:
        how = {"headers": headers, "timeout": 30}
        opened.append(ChatOllama(base_url=house.root, client_kwargs=how, **more))
        return opened[-1]

    yield make
    for model in opened:
        model._client.close()
        await model._async_client.close()


@pytest.fixture(params=["by_openai", "by_ollama"])
def chat(request: pytest.FixtureRequest) -> Make:
    """Each of the two in turn."""
    made: Make = request.getfixturevalue(request.param)
    return made


def test_a_real_model_is_heard_word_for_word(chat: Make) -> None:
    """Whole and streamed, with the usage."""
    model = chat(model="words")
    whole = model.invoke("hi")
    streamed = list(model.stream("hi"))
    assert whole.content == SENTENCE
    assert "".join(str(chunk.content) for chunk in streamed) == SENTENCE
    assert whole.usage_metadata["output_tokens"] == SENTENCE_TOKENS


async def test_the_async_calls_are_served_alike(
    house: House, engine: ActingEngine, chat: Make
) -> None:
    """Whole and streamed, on both engines."""
    model = chat(model=house.name(engine, "actor"))
    whole = await model.ainvoke("hi")
    pieces = [chunk.content async for chunk in model.astream("hi")]
    assert whole.content == TEXT
    assert tuple(piece for piece in pieces if piece) == PIECES


def test_tools_are_called_and_answered(house: House, engine: ActingEngine, chat: Make) -> None:
    """Two at once, run here, answered with what they told."""
    model = chat(model=house.name(engine, "actor")).bind_tools([get_weather])
    first = model.invoke(WHERE)
    assert isinstance(first, AIMessage)
    results = [get_weather.invoke(call) for call in first.tool_calls]
    assert [result.content for result in results] == ["晴れ", "rain"]
    assert all(isinstance(result, ToolMessage) for result in results)
    last = model.invoke([HumanMessage(WHERE), first, *results])
    assert last.content == "It is 晴れ and rain."


def test_tools_are_called_in_a_stream(house: House, engine: ActingEngine, chat: Make) -> None:
    """LangChain adds the pieces up."""
    model = chat(model=house.name(engine, "actor")).bind_tools([get_weather])
    pieces = list(model.stream(WHERE))
    whole = sum(pieces[1:], pieces[0])
    assert [call["args"] for call in whole.tool_calls] == [{"city": "東京"}, {"city": "Köln"}]


def test_structured_output(house: House, engine: ActingEngine, chat: Make) -> None:
    """By a JSON schema."""
    model = chat(model=house.name(engine, "actor"))
    found = model.with_structured_output(Thing, method="json_schema").invoke("hi")
    assert found == Thing(name="灯台", height=31)


def test_a_picture_arrives(house: House, engine: ActingEngine, chat: Make) -> None:
    """In LangChain's own form of content."""
    content: Any = [
        {"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
    ]
    answer = chat(model=house.name(engine, "actor")).invoke([HumanMessage(content)])
    assert answer.content == "1 picture."


def test_thoughts_stand_apart_for_ollamas_class(
    house: House, engine: ActingEngine, by_ollama: Make
) -> None:
    """Where LangChain looks for them."""
    model = by_ollama(model=house.name(engine, "thinker"), reasoning=True)
    answer = model.invoke("hi")
    assert answer.content == "42."
    assert answer.additional_kwargs["reasoning_content"] == THOUGHT


def test_openais_class_speaks_responses_too(
    house: House, engine: ActingEngine, by_openai: Make
) -> None:
    """A conversation that goes on from what is kept."""
    model = by_openai(
        model=house.name(engine, "actor"),
        use_responses_api=True,
        use_previous_response_id=True,
    )
    first = model.invoke("hi")
    model.invoke([HumanMessage("hi"), first, HumanMessage("and?")])
    said = [message["role"] for message in engine.chats[-1]["messages"]]
    assert first.text == TEXT
    assert said == ["user", "assistant", "user"]


def test_embeddings(house: House) -> None:
    """OpenAI's class sends tokens where it thinks of OpenAI's models; told not to, texts."""
    headers = {"authorization": f"Bearer {house.key}"}
    ollama = OllamaEmbeddings(
        model="embedder", base_url=house.root, client_kwargs={"headers": headers}
    )
    with openai.DefaultHttpxClient() as http:
        theirs = OpenAIEmbeddings(
            model="embedder",
            base_url=house.base_url,
            api_key=lambda: house.key,
            check_embedding_ctx_length=False,
            http_client=http,
        )
        vectors = theirs.embed_documents(["a", "b"])
    assert [len(each) for each in vectors] == [64, 64]
    found = ollama.embed_query("a")
    client: Any = ollama._client
    client.close()
    assert found == pytest.approx(vectors[0], abs=1e-6)
