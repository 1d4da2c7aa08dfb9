"""OpenAI's streams as Anthropic's events."""

from __future__ import annotations

import json
from typing import Any

import pytest
from anthropic_said import (
    LLAMACPP,
    NATIVE,
    OLLAMA,
    STAMP,
    TOOL,
    VLLM,
    call_delta,
    chunk,
    events,
    message_of,
    parsed,
    recorded,
    streamed,
    written,
)
from hypothesis import given
from hypothesis import strategies as st

from flm.dialects.client_anthropic.stream import MessagesWriter
from flm.dialects.codec import InputDetails, OutputDetails, Shape, Usage
from flm.dialects.engine import CODECS
from flm.dialects.translated import TranslatedStream
from flm.errors import EngineError
from flm.wire.snapshot import Target

OLLAMA_TARGET = Target(id="o/m", engine="o", model="m", dialect="ollama", host="h", port=1)
USAGE = Usage(11, 5, InputDetails(4), OutputDetails(2))


def writer(*stops: str) -> MessagesWriter:
    return MessagesWriter("mine", stops, STAMP)


def message(*pieces: bytes, stops: tuple[str, ...] = (), usage: Usage | None = USAGE) -> Any:
    return message_of(events(written(writer(*stops), pieces, usage)))


def test_a_stream_byte_for_byte() -> None:
    """Thoughts with a signature before their end, text, one call, usage in the end."""
    sent = written(
        writer(),
        [
            chunk(role="assistant", content=""),
            chunk(reasoning_content="h\\"),
            chunk(content='日"本'),
            chunk(tool_calls=[call_delta(0, "", id="t1", name="f")]),
            chunk(tool_calls=[call_delta(0, '{"a":')]),
            chunk(tool_calls=[call_delta(0, "1}")]),
            chunk("tool_calls"),
        ],
        USAGE,
    )
    assert sent.decode() == (
        'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_7",'
        '"type":"message","role":"assistant","model":"mine","content":[],"stop_reason":null,'
        '"stop_sequence":null,"stop_details":null,"usage":{"input_tokens":0,'
        '"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":0}}}\n\n'
        'event: content_block_start\ndata: {"type":"content_block_start","index":0,'
        '"content_block":{"type":"thinking","thinking":"","signature":""}}\n\n'
        'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
        '"delta":{"type":"thinking_delta","thinking":"h\\\\"}}\n\n'
        'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
        '"delta":{"type":"signature_delta","signature":"flm-msg_7-0"}}\n\n'
        'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n'
        'event: content_block_start\ndata: {"type":"content_block_start","index":1,'
        '"content_block":{"type":"text","text":""}}\n\n'
        'event: content_block_delta\ndata: {"type":"content_block_delta","index":1,'
        '"delta":{"type":"text_delta","text":"日\\"本"}}\n\n'
        'event: content_block_stop\ndata: {"type":"content_block_stop","index":1}\n\n'
        'event: content_block_start\ndata: {"type":"content_block_start","index":2,'
        '"content_block":{"type":"tool_use","id":"t1","name":"f","input":{}}}\n\n'
        'event: content_block_delta\ndata: {"type":"content_block_delta","index":2,'
        '"delta":{"type":"input_json_delta","partial_json":"{\\"a\\":"}}\n\n'
        'event: content_block_delta\ndata: {"type":"content_block_delta","index":2,'
        '"delta":{"type":"input_json_delta","partial_json":"1}"}}\n\n'
        'event: content_block_stop\ndata: {"type":"content_block_stop","index":2}\n\n'
        'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"tool_use",'
        '"stop_sequence":null},"usage":{"input_tokens":7,"cache_creation_input_tokens":0,'
        '"cache_read_input_tokens":4,"output_tokens":5,'
        '"output_tokens_details":{"thinking_tokens":2}}}\n\n'
        'event: message_stop\ndata: {"type":"message_stop"}\n\n'
    )


def test_calls_told_in_turns_are_put_one_after_the_other() -> None:
    """Blocks never overlap; what is not its turn waits and nothing of it is lost."""
    found = message(
        chunk(
            tool_calls=[call_delta(0, "", id="a", name="f"), call_delta(1, "", id="b", name="g")]
        ),
        chunk(tool_calls=[call_delta(1, '{"y"')]),
        chunk(tool_calls=[call_delta(0, '{"x":1')]),
        chunk(content="meanwhile"),
        chunk(tool_calls=[call_delta(1, ":2}")]),
        chunk(tool_calls=[call_delta(0, "}")]),
        chunk("tool_calls"),
    )
    assert found["content"] == [
        {"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}},
        {"type": "tool_use", "id": "b", "name": "g", "input": {"y": 2}},
        {"type": "text", "text": "meanwhile"},
    ]


def test_a_call_that_is_whole_makes_room_for_the_next_at_once() -> None:
    """Clients may start to run it while the next is written."""
    stream = writer()
    stream.feed(chunk(tool_calls=[call_delta(0, "{}", id="a", name="f")]))
    sent = stream.feed(chunk(tool_calls=[call_delta(1, "", id="b", name="g")]))
    assert [event["type"] for event in events(sent)] == [
        "content_block_stop",
        "content_block_start",
    ]


@pytest.mark.parametrize(
    "deltas",
    [
        [call_delta(0, "{}", id="a", name="f"), call_delta(0, "{}", id="b", name="g")],
        [
            {"id": "a", "function": {"name": "f", "arguments": "{}"}},
            {"id": "b", "function": {"name": "g", "arguments": "{}"}},
        ],
        [
            {"index": 0, "id": "a", "function": {"name": "f", "arguments": {}}},
            {"index": 1, "id": "b", "function": {"name": "g", "arguments": None}},
        ],
    ],
    ids=["one index", "no index", "objects"],
)
def test_engines_that_count_calls_otherwise_are_understood(deltas: list[Any]) -> None:
    """A new id is a new call; arguments may be an object or missing."""
    found = message(*(chunk(tool_calls=[delta]) for delta in deltas), chunk("stop"))
    assert [(each["id"], each["name"], each["input"]) for each in found["content"]] == [
        ("a", "f", {}),
        ("b", "g", {}),
    ]
    assert found["stop_reason"] == "tool_use"


def test_calls_without_ids_get_one() -> None:
    """Made of the answer's, each its own."""
    found = message(
        chunk(tool_calls=[call_delta(0, "{}", name="f"), call_delta(1, "{}", name="g")]),
        chunk("tool_calls"),
    )
    assert [each["id"] for each in found["content"]] == ["toolu_7_0", "toolu_7_1"]


def test_arguments_that_are_no_object_are_wrapped() -> None:
    """The SDKs raise for them."""
    found = message(
        chunk(tool_calls=[call_delta(0, '"to', id="a", name="f")]),
        chunk(tool_calls=[call_delta(0, 'day"')]),
        chunk("tool_calls"),
    )
    assert found["content"][0]["input"] == {"INVALID_JSON": '"today"'}


@pytest.mark.parametrize(
    ("last", "stops", "expected"),
    [
        ({"finish_reason": "stop"}, (), ("end_turn", None)),
        ({"finish_reason": "length"}, (), ("max_tokens", None)),
        ({"finish_reason": "content_filter"}, (), ("refusal", None)),
        ({"finish_reason": "stop", "stop_reason": "END"}, ("END",), ("stop_sequence", "END")),
        ({"finish_reason": "stop", "stop_reason": "</s>"}, ("END",), ("end_turn", None)),
        ({"finish_reason": "stop", "stop_reason": 2}, ("END",), ("end_turn", None)),
        ({"finish_reason": "something"}, (), ("end_turn", None)),
    ],
)
def test_why_it_stopped(
    last: dict[str, Any], stops: tuple[str, ...], expected: tuple[str, str | None]
) -> None:
    """With the sequence where the engine tells which."""
    ending = b"data: " + json.dumps({"choices": [{"index": 0, "delta": {}, **last}]}).encode()
    found = message(chunk(content="a"), ending + b"\n\n", stops=stops)
    assert (found["stop_reason"], found["stop_sequence"]) == expected


def test_a_refusal_is_said_and_marked() -> None:
    """Its words are the text."""
    found = message(chunk(refusal="I will "), chunk(refusal="not."), chunk("stop"))
    assert found["content"] == [{"type": "text", "text": "I will not."}]
    assert found["stop_reason"] == "refusal"
    assert found["stop_details"]["type"] == "refusal"


def test_thoughts_under_both_names_are_said_once() -> None:
    """Whichever name an engine has for them."""
    found = message(
        chunk(reasoning="a", reasoning_content="a"),
        chunk(reasoning="b"),
        chunk(reasoning_content="c"),
        chunk("stop"),
    )
    assert [block["thinking"] for block in found["content"]] == ["abc"]


def test_an_answer_without_words_is_whole_too() -> None:
    """Order and usage."""
    found = message(usage=None)
    assert (found["content"], found["stop_reason"]) == ([], "end_turn")
    assert found["usage"]["input_tokens"] == 0


def test_comments_and_usage_say_nothing() -> None:
    """The engine's pings are its own."""
    usage = b'data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}\n\n'
    found = message(b": ping\n\n", chunk(content="a"), usage)
    assert found["content"] == [{"type": "text", "text": "a"}]


@pytest.mark.parametrize(
    "broken", [b"data: {nonsense\n\n", b'data: {"choices":[{"delta":{"content":[1]}}]}\n\n']
)
def test_what_is_no_chunk_is_an_error_behind_what_was_said(broken: bytes) -> None:
    """Never left out in silence."""
    stream = writer()
    with pytest.raises(EngineError) as found:
        stream.feed(chunk(content="a") + broken)
    assert found.value.code == "bad_engine_answer"
    assert events(found.value.before)[-1]["delta"] == {"type": "text_delta", "text": "a"}


def test_plain_texts_need_no_look() -> None:
    """Their shape is Anthropic's delta of the open block, for each block its own."""
    stream = writer()
    before, after = chunk(content="#").split(b"#")
    shape = Shape(before, after, before, after)
    assert stream.shape(shape) is None
    stream.feed(chunk(content="a"))
    found = stream.shape(shape)
    assert found is not None
    assert found is stream.shape(shape)
    assert (found.before, found.after) == (before, after)
    assert found.lead + b"x" + found.trail == (
        b"event: content_block_delta\ndata: "
        b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"x"}}\n\n'
    )
    thought = chunk(reasoning_content="#", reasoning="~")
    lead, rest = thought.split(b"#")
    again, trail = rest.split(b"~")
    twice = Shape(lead, trail, lead, trail, again)
    assert stream.shape(twice) is None
    stream.feed(chunk(reasoning_content="b", reasoning="b"))
    other = stream.shape(twice)
    assert other is not None
    assert other.lead.endswith(b'"index":1,"delta":{"type":"thinking_delta","thinking":"')
    assert stream.shape(shape) is None


@pytest.mark.parametrize(
    "event",
    [
        chunk(content="#", tool_calls=[call_delta(0, "{}")]),
        chunk("stop", content="#"),
        chunk(content="#", reasoning="why"),
        chunk(role="#", content="a"),
        b'data: {"id":"#"}\n\n',
        b": #\n\n",
    ],
)
def test_events_that_say_more_are_looked_at(event: bytes) -> None:
    """A shape whose varying part is not the open block's text is none."""
    stream = writer()
    stream.feed(chunk(content="a"))
    before, after = event.split(b"#")
    assert stream.shape(Shape(before, after, before, after)) is None


def translated(conversation: Any, dialect: str, target: Target) -> TranslatedStream:
    reader = CODECS[dialect].chat_stream(conversation.chat, target, 1700000000, "chatcmpl-x")
    return TranslatedStream(reader, conversation.writer(STAMP))


def test_the_shape_of_a_text_is_that_of_its_block() -> None:
    """A piece that begins and ends as the last one did may have begun another block."""
    stream = translated(parsed(stream=True), "openai", NATIVE)
    text = chunk(content="a")
    stream.feed(b'data: {"model":"tiny-llama","choices":[]}\n\n' + text)
    first = stream.shape(text)
    assert first is not None
    assert b'"index":0' in first.lead
    piece = text + chunk(tool_calls=[call_delta(0, "{}", id="t", name="f")]) + text
    stream.feed(piece)
    second = stream.shape(piece)
    assert second is not None
    assert b'"index":2' in second.lead


@pytest.mark.parametrize(
    ("engine", "name"),
    [
        (LLAMACPP, "chat-tool-forced-stream"),
        (LLAMACPP, "chat-stream"),
        (LLAMACPP, "chat-stream-usage"),
        ("vllm-0.32.0-cpu-tools-and-key", "chat-tool-forced-stream"),
        (VLLM, "chat-stream"),
        (VLLM, "chat-stream-usage"),
    ],
)
def test_recorded_streams_lose_nothing(engine: str, name: str) -> None:
    """Texts, calls and counts are those of OpenAI's own events; arguments that are no object
    (vLLM's tiny model says `true`) are wrapped.
    """
    pieces = recorded(engine, name)
    said = [
        json.loads(event[6:])
        for event in b"".join(pieces).decode().split("\n\n")
        if event.startswith("data: {")
    ]
    deltas = [each["choices"][0]["delta"] for each in said if each["choices"]]
    text = "".join(delta.get("content") or "" for delta in deltas)
    arguments = "".join(
        call["function"].get("arguments") or ""
        for delta in deltas
        for call in delta.get("tool_calls") or []
    )
    stream = translated(parsed(stream=True, tools=[TOOL]), "openai", NATIVE)
    found = events(streamed(stream, pieces))
    whole = [event["delta"] for event in found if event["type"] == "content_block_delta"]
    partial = "".join(delta.get("partial_json", "") for delta in whole)
    assert "".join(delta.get("text", "") for delta in whole) == text
    assert partial == {"true": '{"INVALID_JSON":"true"}'}.get(arguments, arguments)
    counts = found[-2]["usage"]
    asked = counts["input_tokens"] + counts["cache_read_input_tokens"]
    told = [each["usage"] for each in said if each.get("usage")] or [
        {"prompt_tokens": 0, "completion_tokens": 0}
    ]
    assert (asked, counts["output_tokens"]) == (
        told[-1]["prompt_tokens"],
        told[-1]["completion_tokens"],
    )


def test_ollama_s_lines_become_anthropic_s_events() -> None:
    """Through two translations: thoughts, words, counts."""
    lines = [
        {"message": {"role": "assistant", "content": "", "thinking": "考え"}, "done": False},
        {"message": {"role": "assistant", "content": "はい"}, "done": False},
        {"message": {"role": "assistant", "content": "", "tool_calls": [
            {"function": {"name": "f", "arguments": {"a": "b"}}}]}, "done": False},
        {"message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop",
         "prompt_eval_count": 3, "eval_count": 2},
    ]  # fmt: skip
    data = b"".join(json.dumps(line, ensure_ascii=False).encode() + b"\n" for line in lines)
    results = set()
    for cut in range(len(data)):
        stream = translated(parsed(stream=True, tools=[TOOL]), "ollama", OLLAMA_TARGET)
        results.add(streamed(stream, [data[:cut], data[cut:]]))
    assert len(results) == 1
    found = message_of(events(results.pop()))
    assert [block["type"] for block in found["content"]] == ["thinking", "text", "tool_use"]
    assert found["content"][2]["input"] == {"a": "b"}
    assert found["content"][1]["text"] == "はい"
    assert (found["stop_reason"], found["usage"]["input_tokens"]) == ("tool_use", 3)


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
inputs = st.dictionaries(st.text(), values, max_size=3)
blocks = st.lists(
    st.tuples(st.sampled_from(["text", "thinking"]), st.lists(st.text(min_size=1), min_size=1))
    | st.tuples(st.just("tool"), inputs),
    max_size=6,
)


def chunks_of(said: list[tuple[str, Any]], draw: st.DataObject) -> list[bytes]:
    """The blocks as OpenAI's events; arguments cut anywhere."""
    out, calls = [], 0
    for kind, value in said:
        if kind == "tool":
            text = json.dumps(value, ensure_ascii=False)
            cut = draw.draw(st.integers(0, len(text)))
            first = call_delta(calls, text[:cut], id=f"t{calls}", name="f")
            out += [chunk(tool_calls=[first]), chunk(tool_calls=[call_delta(calls, text[cut:])])]
            calls += 1
        else:
            name = "content" if kind == "text" else "reasoning_content"
            out += [chunk(**{name: piece}) for piece in value]
    return [*out, chunk("stop"), b"data: [DONE]\n\n"]


def expected_of(said: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for kind, value in said:
        if kind != "tool" and found and found[-1][0] == kind:
            found[-1] = (kind, found[-1][1] + "".join(value))
        else:
            found.append((kind, value if kind == "tool" else "".join(value)))
    return found


@given(blocks, st.data())
def test_whatever_is_said_arrives_wherever_it_is_cut(
    said: list[tuple[str, Any]], data: st.DataObject
) -> None:
    """Any texts, thoughts and calls; any two cuts of the bytes give the same events."""
    whole = b"".join(chunks_of(said, data))
    cuts = sorted([data.draw(st.integers(0, len(whole))), data.draw(st.integers(0, len(whole)))])
    pieces = [whole[: cuts[0]], whole[cuts[0] : cuts[1]], whole[cuts[1] :]]
    sent = streamed(translated(parsed(stream=True), "openai", NATIVE), [whole])
    again = streamed(translated(parsed(stream=True), "openai", NATIVE), pieces)
    assert sent == again
    found = [
        ("tool", block["input"])
        if block["type"] == "tool_use"
        else (block["type"], block[block["type"]])
        for block in message_of(events(sent))["content"]
    ]
    assert found == expected_of(said)


@given(st.lists(st.text(min_size=1).map(lambda text: text.replace("\x00", "")), min_size=2))
def test_texts_that_pass_by_their_shape_are_the_same(texts: list[str]) -> None:
    """What stands between the shape's ends goes over unread."""
    stream = translated(parsed(stream=True, model="tiny-llama"), "openai", NATIVE)
    start = json.dumps(
        {"model": "tiny-llama", "choices": [{"index": 0, "delta": {"content": "#"}}]}
    ).encode()
    before, after = (b"data: " + start + b"\n\n").split(b"#")
    sent = b""
    passed = 0
    shape = None
    for text in ["first", *texts]:
        said = json.dumps(text, ensure_ascii=False).encode()[1:-1]
        event = before + said + after
        if shape is None:
            sent += stream.feed(event)
            shape = stream.shape(event)
        else:
            passed += 1
            sent += shape.lead + said + shape.trail
    sent += stream.feed(chunk("stop") + b"data: [DONE]\n\n")
    found = message_of(events(sent + stream.tail))
    assert found["content"] == [{"type": "text", "text": "first" + "".join(texts)}]
    assert passed == len(texts)


@pytest.mark.parametrize("name", ["v1-messages-tools-stream", "v1-messages-thinking-stream"])
def test_events_recorded_from_ollama_have_the_order_that_is_written_here(name: str) -> None:
    """The same kinds of events in the same order, but for the signature it leaves out."""
    theirs = [each["type"] for each in events(b"".join(recorded(OLLAMA, name)))]
    tools = "tools" in name
    said = (
        [chunk(tool_calls=[call_delta(0, '{"city":"Tokyo"}', id="c", name="get_weather")])]
        if tools
        else [
            *(chunk(reasoning_content=word) for word in ("The", " user", " greets", " me.")),
            *(chunk(content=word) for word in ("Hello", " there", " friend!")),
        ]
    )
    ours = [
        each["type"]
        for each in events(written(writer(), [*said, chunk("stop")]))
        if each.get("delta", {}).get("type") != "signature_delta"
    ]
    assert ours == theirs
