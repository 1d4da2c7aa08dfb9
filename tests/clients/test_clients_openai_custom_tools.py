"""OpenAI's SDK: chats with tools that are no functions."""

from __future__ import annotations

from typing import Any

import openai
from clients_openai import BOTH
from openai.types.chat import ChatCompletionMessageParam

RUN: Any = {
    "type": "custom",
    "custom": {
        "name": "run",
        "description": "Runs it",
        "format": {"type": "grammar", "grammar": {"syntax": "regex", "definition": ".+"}},
    },
}


def test_custom_tools_are_called_with_text_and_answered(client: openai.OpenAI, actor: str) -> None:
    """The whole loop: no engine knows them, so they go as functions and come back as they were."""
    first = client.chat.completions.create(model=actor, messages=BOTH, tools=[RUN])
    message = first.choices[0].message
    assert first.choices[0].finish_reason == "tool_calls"
    calls = [each for each in message.tool_calls or () if each.type == "custom"]
    assert [(each.custom.name, each.custom.input) for each in calls] == [
        ("run", "東京"),
        ("run", "Köln"),
    ]
    results: list[ChatCompletionMessageParam] = [
        {"role": "tool", "tool_call_id": each.id, "content": told}
        for each, told in zip(calls, ("晴れ", "rain"), strict=True)
    ]
    history: Any = [*BOTH, message, *results]
    last = client.chat.completions.create(model=actor, messages=history, tools=[RUN])
    assert last.choices[0].message.content == "It is 晴れ and rain."


def test_streamed_calls_are_told_in_order(client: openai.OpenAI, actor: str) -> None:
    """Each under its own index, its text whole. (The SDK's `stream` helper itself fails at custom
    calls, whoever sends them.)
    """
    chunks = list(
        client.chat.completions.create(
            model=actor,
            messages=BOTH,
            tools=[RUN],
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    pieces: list[Any] = [
        piece
        for chunk in chunks
        for choice in chunk.choices
        for piece in choice.delta.tool_calls or ()
    ]
    names = [(each.index, each.id, each.type) for each in pieces if each.id]
    assert names == [(0, "call_1", "custom"), (1, "call_2", "custom")]
    assert {each.custom["name"] for each in pieces if each.id} == {"run"}
    said = [each.custom["input"] for each in pieces if each.custom["input"]]
    assert said == ["東京", "Köln"]
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "tool_calls"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 4


def test_a_real_llama_cpp_takes_them(client: openai.OpenAI) -> None:
    """It refuses tools of any type but functions by itself."""
    answer = client.chat.completions.create(model="words", messages=BOTH, tools=[RUN], max_tokens=9)
    assert answer.choices[0].finish_reason in ("stop", "length", "tool_calls")


def test_hosted_tools_are_named_as_dropped(client: openai.OpenAI, actor: str) -> None:
    """No engine searches the web; the answer comes without, and says so."""
    search: Any = {"type": "web_search"}
    raw = client.chat.completions.with_raw_response.create(
        model=actor, messages=[{"role": "user", "content": "hi"}], tools=[search]
    )
    assert raw.headers["x-flm-dropped"] == "tools.web_search"
    assert raw.parse().choices[0].message.content == "Grüße aus 東京 😀."
