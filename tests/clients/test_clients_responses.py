"""OpenAI's SDK and its Responses: answers, streams, what is kept, tools, on engines without any."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest
from clients_engines import ActingEngine
from clients_house import PIXEL, SENTENCE, SENTENCE_TOKENS, WEATHER, WHERE, House
from clients_openai import Thing
from clients_stage import REFUSAL, TEXT, THOUGHT

TOOLS: list[Any] = [
    {"type": "function", "name": "get_weather", "parameters": WEATHER, "strict": False}
]


def test_a_real_model_answers(client: openai.OpenAI) -> None:
    """Word for word, with the usage."""
    answer = client.responses.create(model="words", input="hi", instructions="Be brief.")
    assert (answer.status, answer.output_text) == ("completed", SENTENCE)
    assert answer.usage is not None
    assert answer.usage.output_tokens == SENTENCE_TOKENS
    assert (answer.model, answer.instructions) == ("words", "Be brief.")


def test_a_stream_has_every_event_in_order(client: openai.OpenAI, actor: str) -> None:
    """Begun, the item and its part opened, the text, each closed again, completed."""
    events = list(client.responses.create(model=actor, input="hi", stream=True))
    assert [event.type for event in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        *["response.output_text.delta"] * 4,
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event.sequence_number for event in events] == list(range(12))
    last = events[-1]
    assert last.type == "response.completed"
    assert last.response.output_text == TEXT
    assert last.response.usage is not None
    assert (last.response.usage.input_tokens, last.response.usage.output_tokens) == (9, 4)


def test_the_sdks_own_stream_puts_it_together(client: openai.OpenAI, actor: str) -> None:
    """And reads a pydantic model out of it."""
    with client.responses.stream(model=actor, input="hi", text_format=Thing) as stream:
        final = stream.get_final_response()
    parsed = client.responses.parse(model=actor, input="hi", text_format=Thing)
    assert final.output_parsed == Thing(name="灯台", height=31)
    assert parsed.output_parsed == Thing(name="灯台", height=31)


async def test_the_async_client_is_served_alike(house: House) -> None:
    """Streamed, from the real model."""
    async with (
        openai.AsyncOpenAI(base_url=house.base_url, api_key=house.key) as client,
        client.responses.stream(model="words", input="hi") as stream,
    ):
        final = await stream.get_final_response()
    assert final.output_text == SENTENCE


def test_a_conversation_goes_on_from_what_is_kept(
    client: openai.OpenAI, actor: str, engine: ActingEngine
) -> None:
    """The engine reads all of it; instructions are each turn's own."""
    first = client.responses.create(model=actor, input="one", instructions="Be brief.")
    client.responses.create(model=actor, input="two", previous_response_id=first.id)
    said = [(each["role"], each["content"]) for each in engine.chats[-1]["messages"]]
    assert said == [("user", "one"), ("assistant", TEXT), ("user", "two")]


def test_what_is_kept_is_shown_and_forgotten(client: openai.OpenAI, actor: str) -> None:
    """The response, what it was asked, and then neither."""
    made = client.responses.create(model=actor, input="hi", metadata={"for": "tests"})
    again = client.responses.retrieve(made.id)
    items = client.responses.input_items.list(made.id).data
    client.responses.delete(made.id)
    assert (again.id, again.output_text, again.metadata) == (made.id, TEXT, {"for": "tests"})
    assert [item.type for item in items] == ["message"]
    assert items[0].to_dict()["content"] == [{"type": "input_text", "text": "hi"}]
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(made.id)


def test_a_streamed_response_is_kept_too(client: openai.OpenAI, actor: str) -> None:
    """By the time its end has come."""
    with client.responses.stream(model=actor, input="hi") as stream:
        final = stream.get_final_response()
    assert client.responses.retrieve(final.id).output_text == TEXT


def test_what_is_not_to_be_stored_is_not(client: openai.OpenAI, actor: str) -> None:
    """`store: false`; going on from it is refused."""
    made = client.responses.create(model=actor, input="hi", store=False)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(made.id)
    with pytest.raises(openai.APIStatusError) as caught:
        client.responses.create(model=actor, input="and?", previous_response_id=made.id)
    assert caught.value.code == "previous_response_not_found"
    assert caught.value.param == "previous_response_id"


def test_another_key_sees_nothing_of_it(client: openai.OpenAI, house: House) -> None:
    """What is kept is its key's alone."""
    made = client.responses.create(model="stage/actor", input="hi")
    _, key = house.flm.key("other")
    with (
        openai.OpenAI(base_url=house.base_url, api_key=key, max_retries=0) as stranger,
        pytest.raises(openai.NotFoundError),
    ):
        stranger.responses.retrieve(made.id)


def test_tools_are_called_and_answered(client: openai.OpenAI, actor: str) -> None:
    """Two at once; their results come back over what is kept."""
    first = client.responses.create(model=actor, input=WHERE, tools=TOOLS)
    calls = [item for item in first.output if item.type == "function_call"]
    assert [json.loads(call.arguments) for call in calls] == [{"city": "東京"}, {"city": "Köln"}]
    results: Any = [
        {"type": "function_call_output", "call_id": call.call_id, "output": told}
        for call, told in zip(calls, ("晴れ", "rain"), strict=True)
    ]
    last = client.responses.create(
        model=actor, input=results, tools=TOOLS, previous_response_id=first.id
    )
    assert last.output_text == "It is 晴れ and rain."


def test_tools_are_called_in_a_stream(client: openai.OpenAI, actor: str) -> None:
    """Their arguments arrive whole, item by item."""
    events = list(client.responses.create(model=actor, input=WHERE, tools=TOOLS, stream=True))
    done = [each for each in events if each.type == "response.function_call_arguments.done"]
    pieces = [each for each in events if each.type == "response.function_call_arguments.delta"]
    assert [json.loads(each.arguments) for each in done] == [{"city": "東京"}, {"city": "Köln"}]
    assert "".join(each.delta for each in pieces) == "".join(each.arguments for each in done)
    assert [each.output_index for each in done] == [0, 1]


def test_custom_tools_are_called_with_plain_text(client: openai.OpenAI, actor: str) -> None:
    """No engine knows them: they go as functions, and come back as what they were."""
    tool: Any = {"type": "custom", "name": "run", "description": "Runs it"}
    made = client.responses.create(model=actor, input="Weather in Köln?", tools=[tool])
    call = made.output[0]
    assert call.type == "custom_tool_call"
    assert (call.name, call.input) == ("run", "Köln")


def test_hosted_tools_are_named_as_dropped(client: openai.OpenAI, actor: str) -> None:
    """No engine searches the web; the answer comes without, and says so."""
    raw = client.responses.with_raw_response.create(
        model=actor, input="hi", tools=[{"type": "web_search"}]
    )
    assert raw.headers["x-flm-dropped"] == "tools.web_search"
    assert raw.parse().output_text == TEXT


def test_a_picture_arrives(client: openai.OpenAI, actor: str) -> None:
    """As a data URL, beside its question."""
    content: Any = [
        {"type": "input_text", "text": "What is it?"},
        {"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}"},
    ]
    made = client.responses.create(model=actor, input=[{"role": "user", "content": content}])
    assert made.output_text == "1 picture."


def test_thoughts_are_an_item_of_their_own(
    client: openai.OpenAI, house: House, engine: ActingEngine
) -> None:
    """Before the message, whole and streamed."""
    name = house.name(engine, "thinker")
    whole = client.responses.create(model=name, input="hi", reasoning={"effort": "medium"})
    events = list(
        client.responses.create(model=name, input="hi", reasoning={"effort": "medium"}, stream=True)
    )
    thought = [each.delta for each in events if each.type == "response.reasoning_text.delta"]
    item = whole.output[0]
    assert item.type == "reasoning"
    assert [part.text for part in item.content or ()] == [THOUGHT]
    assert whole.output_text == "42."
    assert "".join(thought) == THOUGHT


def test_a_refusal_is_one(client: openai.OpenAI) -> None:
    """A part of its own kind."""
    made = client.responses.create(model="stage/refuser", input="no")
    item = made.output[0]
    assert item.type == "message"
    assert [(part.type, getattr(part, "refusal", "")) for part in item.content] == [
        ("refusal", REFUSAL)
    ]


def test_a_limit_of_tokens_leaves_it_incomplete(client: openai.OpenAI) -> None:
    """By the real llama.cpp, and says why."""
    made = client.responses.create(model="words", input="hi", max_output_tokens=16)
    assert made.status == "incomplete"
    assert made.incomplete_details is not None
    assert made.incomplete_details.reason == "max_output_tokens"


def test_a_stream_that_breaks_is_an_error(
    client: openai.OpenAI, house: House, engine: ActingEngine
) -> None:
    """The SDK raises instead of taking what came for the whole."""
    with (
        pytest.raises(openai.APIError) as caught,
        client.responses.create(
            model=house.name(engine, "breaker"), input="hi", stream=True
        ) as stream,
    ):
        list(stream)
    assert caught.value.code == "stream_interrupted"


def test_an_unknown_model_is_not_found(client: openai.OpenAI) -> None:
    """Before any event, also where a stream was asked for."""
    with pytest.raises(openai.NotFoundError) as caught:
        client.responses.create(model="nobody", input="hi", stream=True)
    assert caught.value.code == "model_not_found"
