"""Answers of chats as responses: whole, streamed, broken; the same in both ways."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

import httpx2
import msgspec
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai import OpenAI
from openai._streaming import Stream
from openai.types.responses import Response, ResponseStreamEvent
from responses_support import (
    SEED,
    STAMP,
    chunk,
    completion,
    conversation,
    events_of,
    tool_chunk,
)

from flm.dialects.client_responses.errors import ResponsesForm
from flm.dialects.client_responses.writer import response_in, with_response
from flm.dialects.codec import InputDetails, OutputDetails, Usage
from flm.errors import EngineError, Refusal, StreamBroken

USAGE = Usage(7, 5, InputDetails(3), OutputDetails(2))
TOOLS = [
    {"type": "function", "name": "weather", "parameters": {"type": "object"}},
    {"type": "custom", "name": "apply_patch"},
    {
        "type": "namespace",
        "name": "mcp__docs__",
        "description": "",
        "tools": [{"type": "function", "name": "search"}, {"type": "custom", "name": "exec"}],
    },
    {"type": "tool_search", "execution": "client"},
]


def streamed(*pieces: bytes, usage: Usage | None = USAGE, **fields: Any) -> list[dict[str, Any]]:
    """The events of the answer that comes in these pieces."""
    writer = conversation(stream=True, **fields).writer(STAMP)
    stream = b"".join(writer.feed(piece) for piece in pieces) + writer.end(usage)
    events = events_of(stream)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    return events


def whole(body: bytes, usage: Usage | None = USAGE, **fields: Any) -> dict[str, Any]:
    """The response object for that chat completion."""
    return dict(json.loads(conversation(**fields).answer(body, usage, STAMP)))


def test_a_text_comes_in_the_documented_order():
    """Created, in progress, item, part, pieces, and all of it closed again."""
    events = streamed(
        chunk(role="assistant", content=""),
        chunk(content="日本"),
        chunk(content="語🎉"),
        chunk("stop"),
    )
    where = {"item_id": f"msg_{SEED}_0", "output_index": 0, "content_index": 0}
    part = {"type": "output_text", "annotations": [], "logprobs": [], "text": "日本語🎉"}
    item = {
        "id": f"msg_{SEED}_0", "type": "message", "status": "completed", "role": "assistant",
        "content": [part],
    }  # fmt: skip
    assert [event["type"] for event in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert events[2]["item"] == {**item, "status": "in_progress", "content": []}
    assert events[3] == {
        "type": "response.content_part.added", "sequence_number": 3, **where,
        "part": {**part, "text": ""},
    }  # fmt: skip
    assert events[4] == {
        "type": "response.output_text.delta", "sequence_number": 4, **where, "logprobs": [],
        "delta": "日本",
    }  # fmt: skip
    assert events[6] == {
        "type": "response.output_text.done", "sequence_number": 6, **where, "text": "日本語🎉",
        "logprobs": [],
    }  # fmt: skip
    assert events[7]["part"] == part
    assert events[8] == {
        "type": "response.output_item.done", "sequence_number": 8, "output_index": 0, "item": item,
    }  # fmt: skip
    assert events[9]["response"]["output"] == [item]
    assert events[9]["response"]["usage"] == {
        "input_tokens": 7,
        "input_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 0},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 2},
        "total_tokens": 12,
    }


def test_nothing_is_sent_before_there_is_content():
    """Until then another engine may answer instead."""
    writer = conversation(stream=True).writer(STAMP)
    assert writer.feed(chunk(role="assistant", content="")) == b""
    assert writer.feed(b": ping\n\n") == b""
    assert writer.feed(chunk(content="a")).startswith(b"event: response.created\n")


@pytest.mark.parametrize(
    "text",
    ["m", "content", "a b", "", "\t", "\u3000", 'q"q', "back\\slash", "語", "🎉", "\x7f", "\n"],
)
def test_an_event_like_the_last_one_is_told_the_same_unread(text: str):
    """Whatever its text is; the first of its kind is read, the next ones only where they differ."""
    first, second = streamed(*[chunk(content="m")] * 3), streamed(chunk(content="m" * 3))
    assert first[-1]["response"] == second[-1]["response"]
    events = streamed(
        chunk(content="m"), chunk(content=text), chunk(content="x"), chunk("length", content=text)
    )
    said = "".join(event["delta"] for event in events if "delta" in event)
    assert said == f"m{text}x{text}"
    response = events[-1]["response"]
    assert response["output"][0]["content"][0]["text"] == said
    assert response["status"] == "incomplete"


@pytest.mark.parametrize("text", [b"\xff", b"\xe3\x81", b"a\x01", b'"', b"\\"])
def test_what_is_no_text_breaks_a_stream_of_plain_events(text: bytes):
    """It never reaches a client, nor what is kept."""
    writer = conversation(stream=True).writer(STAMP)
    writer.feed(chunk(content="one"))
    writer.feed(chunk(content="two"))
    with pytest.raises(StreamBroken):
        writer.feed(chunk(content="two").replace(b"two", text))


def test_thoughts_are_told_as_they_are():
    """In an item of their own, before the text."""
    events = streamed(
        chunk(reasoning_content="hm", reasoning="hm"), chunk(reasoning=" so"), chunk(content="yes")
    )
    types = [event["type"] for event in events[2:9]]
    assert types == [
        "response.output_item.added",
        "response.content_part.added",
        "response.reasoning_text.delta",
        "response.reasoning_text.delta",
        "response.reasoning_text.done",
        "response.content_part.done",
        "response.output_item.done",
    ]
    assert events[6]["text"] == "hm so"
    assert events[-1]["response"]["output"][0] == {
        "id": f"rs_{SEED}_0",
        "type": "reasoning",
        "summary": [],
        "content": [{"type": "reasoning_text", "text": "hm so"}],
        "encrypted_content": None,
    }


def test_thoughts_are_a_summary_where_one_was_asked_for():
    """So that Codex and others that show only summaries show them, and send them back."""
    events = streamed(
        chunk(reasoning="hm"), chunk(content="yes"), reasoning={"effort": "low", "summary": "auto"}
    )
    types = [event["type"] for event in events[2:8]]
    assert types == [
        "response.output_item.added",
        "response.reasoning_summary_part.added",
        "response.reasoning_summary_text.delta",
        "response.reasoning_summary_text.done",
        "response.reasoning_summary_part.done",
        "response.output_item.done",
    ]
    assert events[4]["summary_index"] == 0
    item = events[-1]["response"]["output"][0]
    assert item["summary"] == [{"type": "summary_text", "text": "hm"}]
    assert "content" not in item


def test_function_calls_come_in_pieces_two_at_once():
    """Each with its own place, whatever the order of the pieces."""
    events = streamed(
        tool_chunk(0, "weather", "", "call_a"),
        tool_chunk(0, None, '{"c":'),
        tool_chunk(1, "search", '{"q":1', "call_b"),
        tool_chunk(0, None, '"東京"}'),
        tool_chunk(1, None, "}"),
        chunk("tool_calls"),
        tools=TOOLS,
    )
    assert [(event["output_index"], event["delta"]) for event in events if "delta" in event] == [
        (0, '{"c":'), (1, '{"q":1'), (0, '"東京"}'), (1, "}"),
    ]  # fmt: skip
    assert events[-1]["response"]["output"] == [
        {"id": f"fc_{SEED}_0", "status": "completed", "call_id": "call_a",
         "type": "function_call", "name": "weather", "arguments": '{"c":"東京"}'},
        {"id": f"fc_{SEED}_1", "status": "completed", "call_id": "call_b",
         "type": "function_call", "name": "search", "arguments": '{"q":1}',
         "namespace": "mcp__docs__"},
    ]  # fmt: skip
    done = [event for event in events if event["type"] == "response.function_call_arguments.done"]
    assert [event["arguments"] for event in done] == ['{"c":"東京"}', '{"q":1}']


def test_a_custom_call_is_turned_back_into_its_text():
    """With the events of its own, in one piece."""
    events = streamed(
        tool_chunk(0, "apply_patch", '{"input":"*** Be', "c"),
        tool_chunk(0, None, 'gin\\n日本"}'),
        tool_chunk(1, "mcp__docs__exec", '{"input":"ls"}', "d"),
        tools=TOOLS,
    )
    kinds = [event["type"] for event in events if "custom" in event["type"]]
    assert kinds == [
        "response.custom_tool_call_input.delta",
        "response.custom_tool_call_input.done",
        "response.custom_tool_call_input.delta",
        "response.custom_tool_call_input.done",
    ]
    assert events[-1]["response"]["output"] == [
        {"id": f"ctc_{SEED}_0", "status": "completed", "call_id": "c",
         "type": "custom_tool_call", "name": "apply_patch", "input": "*** Begin\n日本"},
        {"id": f"ctc_{SEED}_1", "status": "completed", "call_id": "d",
         "type": "custom_tool_call", "name": "exec", "input": "ls", "namespace": "mcp__docs__"},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ('{"input":"a"}', "a"),
        ('{"patch":"a"}', "a"),
        ('"a"', "a"),
        ("*** Begin Patch", "*** Begin Patch"),
        ('{"x":"a","y":"b"}', '{"x":"a","y":"b"}'),
        ('{"input":5}', '{"input":5}'),
        ("", ""),
    ],
)
def test_what_models_make_of_a_custom_tool_is_understood(arguments: str, text: str):
    """The text in its argument, in one of another name, or without any JSON."""
    call = {
        "id": "c",
        "type": "function",
        "function": {"name": "apply_patch", "arguments": arguments},
    }
    output = whole(completion("tool_calls", tool_calls=[call]), tools=TOOLS)["output"]
    assert [item["input"] for item in output] == [text]


def test_a_search_for_tools_is_the_client_s_own():
    """Its arguments are an object."""
    call = {
        "id": "c",
        "type": "function",
        "function": {"name": "tool_search", "arguments": '{"query":"x"}'},
    }
    output = whole(completion("tool_calls", tool_calls=[call]), tools=TOOLS)["output"]
    assert output == [
        {"id": f"tsc_{SEED}_0", "status": "completed", "call_id": "c", "type": "tool_search_call",
         "execution": "client", "arguments": {"query": "x"}},
    ]  # fmt: skip


def test_a_call_without_id_or_arguments_gets_them():
    """Clients match results by the one and parse the other."""
    events = streamed(tool_chunk(0, "weather", ""), tools=TOOLS)
    item = events[-1]["response"]["output"][0]
    assert (item["call_id"], item["arguments"]) == (f"call_{SEED}_0", "{}")


def test_a_refusal_is_a_part_of_its_own():
    """Behind text of the same message."""
    events = streamed(
        chunk(content="Well. "), chunk(refusal="No"), chunk(refusal="."), chunk("stop")
    )
    parts = events[-1]["response"]["output"][0]["content"]
    assert parts[1] == {"type": "refusal", "refusal": "No."}
    kinds = [event["type"] for event in events if "refusal" in event["type"]]
    assert kinds == ["response.refusal.delta", "response.refusal.delta", "response.refusal.done"]


@pytest.mark.parametrize(
    ("finish", "reason"), [("length", "max_output_tokens"), ("content_filter", "content_filter")]
)
def test_an_answer_that_was_cut_off_says_so(finish: str, reason: str):
    """Status, reason and the unfinished message, streamed or not."""
    last = streamed(chunk(content="half"), chunk(finish))[-1]
    assert last["type"] == "response.incomplete"
    for response in (last["response"], whole(completion(finish, content="half"))):
        assert response["status"] == "incomplete"
        assert response["incomplete_details"] == {"reason": reason}
        assert response["output"][0]["status"] == "incomplete"


def test_log_probabilities_go_along():
    """With each piece and with the whole; lists where the engine had null."""
    told = {"content": [{"token": "a", "logprob": -0.1, "bytes": None, "top_logprobs": [
        {"token": "b", "logprob": -2.0, "bytes": [98]}]}]}  # fmt: skip
    mended = {"token": "a", "logprob": -0.1, "bytes": [], "top_logprobs": [
        {"token": "b", "logprob": -2.0, "bytes": [98]}]}  # fmt: skip
    events = streamed(chunk(content="a", logprobs=told), include=["message.output_text.logprobs"])
    assert events[4]["logprobs"] == [mended]
    assert events[-1]["response"]["output"][0]["content"][0]["logprobs"] == [mended]


def test_an_empty_answer_is_a_message_without_a_word():
    """Streamed and not."""
    for response in (streamed(chunk("stop"))[-1]["response"], whole(completion(content=""))):
        assert [item["type"] for item in response["output"]] == ["message"]
        assert response["status"] == "completed"


def test_what_was_asked_is_repeated_in_the_answer():
    """Tools as they came, defaults where nothing was said."""
    response = whole(
        completion(content="x"), instructions="i", metadata={"a": "b"}, tools=TOOLS, store=False,
        temperature=0.1, previous_response_id=None,
    )  # fmt: skip
    assert response["tools"] == TOOLS
    assert response["metadata"] == {"a": "b"}
    assert (response["store"], response["temperature"], response["instructions"]) == (
        False,
        0.1,
        "i",
    )
    assert response["text"] == {"format": {"type": "text"}, "verbosity": "medium"}
    assert (response["id"], response["created_at"]) == (f"resp_{SEED}", 1_700_000_000)


def test_an_answer_without_usage_says_null():
    """Nothing is made up here."""
    assert whole(completion(content="x"), usage=None)["usage"] is None


@pytest.mark.parametrize("body", [b"{", b'{"choices":[]}', b'{"choices":[{}]}', b"[]"])
def test_what_is_no_completion_is_the_engine_s_error(body: bytes):
    """502, never half an answer."""
    with pytest.raises(EngineError) as caught:
        conversation().answer(body, None, STAMP)
    assert caught.value.status == 502


def test_an_unreadable_event_breaks_the_stream():
    """What came before it is handed over with the error."""
    writer = conversation(stream=True).writer(STAMP)
    with pytest.raises(StreamBroken) as caught:
        writer.feed(chunk(content="a") + b'data: {"choices":[{"delta":{"content":5}}]}\n\n')
    assert b'"delta":"a"' in caught.value.before


def test_a_broken_stream_ends_with_an_error_and_a_failed_response():
    """In the numbering of the stream."""
    writer = conversation(stream=True).writer(STAMP)
    stream = writer.feed(chunk(content="half"))
    stream += writer.broken(Refusal(502, "stream_interrupted", "It broke.", kind="upstream_error"))
    events = events_of(stream)
    assert [event["sequence_number"] for event in events] == list(range(7))
    assert events[5] == {
        "type": "error", "sequence_number": 5, "code": "stream_interrupted",
        "message": "It broke.", "param": None,
        "error": {"type": "upstream_error", "code": "stream_interrupted", "message": "It broke.",
                  "param": None},
    }  # fmt: skip
    assert events[6]["type"] == "response.failed"
    assert events[6]["response"]["status"] == "failed"
    assert events[6]["response"]["error"] == {"code": "stream_interrupted", "message": "It broke."}


def test_the_form_says_the_same_where_nothing_was_written():
    """After pings alone there is no writer to ask."""
    broken = ResponsesForm().broken(Refusal(502, "engine_gone", "Gone."), "req_1")
    error, failed = events_of(broken)
    assert error["error"]["code"] == "engine_gone"
    assert failed["response"]["error"] == {"code": "engine_gone", "message": "Gone."}


def test_the_last_event_holds_the_response():
    """Which can be taken out, and another put in."""
    made = conversation(stream=True, metadata={"a": '","response":'})
    writer = made.writer(STAMP)
    writer.feed(chunk(content='\n\ndata: ,"response":'))
    end = writer.end(USAGE)
    response = response_in(end)
    assert json.loads(response) == events_of(end)[-1]["response"]
    assert with_response(end, response) == end


# What the official SDK makes of it.


def sdk_events(stream: bytes) -> Iterator[ResponseStreamEvent]:
    """The events as the `openai` package parses them."""
    client = OpenAI(api_key="k", base_url="http://127.0.0.1:9/v1")
    request = httpx2.Request("POST", "http://127.0.0.1:9/v1/responses")
    answer = httpx2.Response(200, content=stream, request=request)
    with client:
        yield from Stream(cast_to=ResponseStreamEvent, response=answer, client=client)  # type: ignore[type-var]


def test_the_sdk_reads_every_event_as_its_own_type():
    """Strictly: each is validated against the model of its name."""
    writer = conversation(stream=True, tools=TOOLS).writer(STAMP)
    pieces = (
        chunk(reasoning="hm"), chunk(content="a"), chunk(refusal="no"),
        tool_chunk(0, "weather", "{}", "c"), tool_chunk(1, "apply_patch", '{"input":"x"}', "d"),
    )  # fmt: skip
    stream = b"".join(writer.feed(piece) for piece in pieces) + writer.end(USAGE)
    events = list(sdk_events(stream))
    assert [type(event).model_validate(event.to_dict()).type for event in events] == [
        event["type"] for event in events_of(stream)
    ]
    last = events[-1]
    assert last.type == "response.completed"
    assert last.response.output_text == "a"
    assert last.response.usage is not None
    assert last.response.usage.total_tokens == 12


def test_the_sdk_raises_what_broke_the_stream():
    """It never takes half an answer for a whole one."""
    writer = conversation(stream=True).writer(STAMP)
    stream = writer.feed(chunk(content="half")) + writer.broken(Refusal(502, "x", "It broke."))
    with pytest.raises(openai.APIError, match="It broke"):
        list(sdk_events(stream))


def test_the_sdk_reads_a_whole_response():
    """Validated against its model."""
    response = Response.model_validate(whole(completion(content="hello"), tools=TOOLS[:2]))
    assert response.output_text == "hello"


# Nothing is lost, wherever it is cut.

words = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8) | st.sampled_from(
    ["日本", "🎉", "\n\n", "data: [DONE]", '"}', "\\"]
)
deltas = st.lists(
    st.tuples(st.sampled_from(["reasoning", "content", "refusal", "call0", "call1"]), words),
    max_size=12,
)


def piece_of(kind: str, text: str, named: set[int]) -> bytes:
    """One event of that kind."""
    if not kind.startswith("call"):
        return chunk(**{kind: text})
    index = int(kind[4:])
    name = None if index in named else "weather"
    named.add(index)
    return tool_chunk(index, name, text, f"c{index}")


@given(deltas, st.lists(st.integers(0, 20), max_size=4))
def test_all_that_was_said_is_in_the_events_and_in_the_response(
    said: list[tuple[str, str]], cuts: list[int]
):
    """Of every kind, in its order, however many events come at once."""
    named: set[int] = set()
    pieces = [piece_of(kind, text, named) for kind, text in said]
    places = sorted({0, len(pieces), *(cut % (len(pieces) + 1) for cut in cuts)})
    groups = [b"".join(pieces[a:b]) for a, b in itertools.pairwise(places)]
    one_by_one, in_groups = streamed(*pieces, tools=TOOLS), streamed(*groups, tools=TOOLS)
    assert one_by_one == in_groups
    output = one_by_one[-1]["response"]["output"]
    texts: dict[str, str] = dict.fromkeys(("reasoning", "content", "refusal", "call0", "call1"), "")
    for item in output:
        if item["type"] == "reasoning":
            texts["reasoning"] += "".join(part["text"] for part in item["content"])
        elif item["type"] == "function_call":
            texts[f"call{item['call_id'][1:]}"] += item["arguments"]
        else:
            for part in item["content"]:
                texts["content"] += part.get("text", "")
                texts["refusal"] += part.get("refusal", "")
    expected = dict.fromkeys(texts, "")
    for kind, text in said:
        expected[kind] += text
    assert texts == expected
    deltas_said = "".join(event["delta"] for event in one_by_one if "delta" in event)
    assert sorted(deltas_said) == sorted("".join(text for _, text in said))
    done = [event["item"] for event in one_by_one if event["type"] == "response.output_item.done"]
    assert sorted(map(msgspec.json.encode, done)) == sorted(map(msgspec.json.encode, output))
