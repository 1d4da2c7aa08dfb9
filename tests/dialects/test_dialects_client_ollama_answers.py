"""Answers of any engine as Ollama's clients read them: what a real Ollama says is the form."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from client_ollama_said import STAMP, chat, generate, lines, loading, now, reader, without_times
from dialects_recorded import OLLAMA, OPENAI_TARGET, drive, recorded
from hypothesis import given
from hypothesis import strategies as st

from flm.dialects.client_ollama.loading import loaded
from flm.dialects.codec import Shape, Usage
from flm.dialects.engine import CODECS
from flm.errors import EngineError, StreamBroken

LLAMACPP = "llamacpp-xllamacpp-2026.10"


def sse(*chunks: dict[str, Any], newline: str = "\n") -> bytes:
    """OpenAI's events."""
    said = [f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n" for chunk in chunks]
    return "".join(said).replace("\n", newline).encode()


def delta(**fields: Any) -> dict[str, Any]:
    """A chunk with that delta."""
    return {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": fields}]}


def finish(reason: str) -> dict[str, Any]:
    """The chunk that says why it ended."""
    return {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}


def call(index: int | None, id_: str | None, name: str | None, text: Any) -> dict[str, Any]:
    """A piece of a tool call."""
    piece: dict[str, Any] = {"function": {"arguments": text}}
    if name is not None:
        piece["function"]["name"] = name
    if index is not None:
        piece["index"] = index
    if id_ is not None:
        piece["id"] = id_
    return delta(tool_calls=[piece])


def written(*events: bytes, usage: Usage | None = None, asked: Any = None) -> list[dict[str, Any]]:
    """The lines of a stream of these events."""
    writer = (asked or chat()).writer(STAMP)
    sent = b"".join(writer.feed(each) for each in events)
    return lines(sent + writer.end(usage))


@pytest.mark.parametrize(
    "name", ["chat-stream", "chat-think-stream", "chat-tools-stream", "chat-stream-logprobs"]
)
def test_a_real_stream_comes_back_as_it_was(name: str) -> None:
    """Ollama's lines, translated into OpenAI's events, translated back: the same lines."""
    real = recorded(OLLAMA, name)
    model = json.loads(real.pieces[0])["model"]
    told = drive(reader(chat(model=model), "ollama"), real.pieces)
    ours, theirs = lines(told.sent + told.tail), lines(real.body)
    assert [list(line) for line in ours] == [list(line) for line in theirs]
    assert list(map(without_times, ours)) == _with_lists(list(map(without_times, theirs)))
    assert ours[-1]["total_duration"] == 2_000_000_000


def _with_lists(said: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Chances as OpenAI's clients want them, `bytes` always there: Ollama leaves some out."""
    for line in said:
        for chance in line.get("logprobs", []):
            for top in chance["top_logprobs"]:
                top.setdefault("bytes", None)
    return said


@pytest.mark.parametrize("name", ["chat", "chat-think", "chat-tools", "chat-stop"])
def test_a_real_answer_comes_back_as_it_was(name: str) -> None:
    """The whole answer likewise: the same fields in the same order."""
    real = recorded(OLLAMA, name)
    theirs = json.loads(real.body)
    asked = chat(model=theirs["model"], stream=False)
    codec = CODECS["ollama"]
    answer = codec.chat_answer(asked.chat, OPENAI_TARGET, real.body, 1, "chatcmpl-x")
    ours = json.loads(asked.answer(answer.body, answer.usage, STAMP))
    assert list(ours) == list(theirs)
    assert without_times(ours) == without_times(theirs)


@pytest.mark.parametrize("name", ["generate", "generate-raw"])
def test_generate_answers_have_ollamas_fields(name: str) -> None:
    """All but `context`, which only Ollama's own engine could read again."""
    theirs = json.loads(recorded(OLLAMA, name).body)
    theirs.pop("context", None)
    body = b'{"choices":[{"message":{"content":"x"},"finish_reason":"length"}]}'
    ours = json.loads(generate().answer(body, Usage(24, 8), STAMP))
    assert list(ours) == list(theirs)
    assert ours["response"] == "x"
    assert [type(value) for value in ours.values()] == [type(value) for value in theirs.values()]


def test_generate_streams_have_ollamas_fields() -> None:
    """The text at the top; the last line as Ollama's but for `context`."""
    theirs = lines(recorded(OLLAMA, "generate-stream").body)
    theirs[-1].pop("context")
    ours = written(
        sse(delta(content="a"), delta(reasoning="b"), finish("stop")),
        usage=Usage(1, 2),
        asked=generate(),
    )
    assert list(ours[0]) == list(theirs[0])
    assert list(ours[-1]) == list(theirs[-1])
    assert (ours[0]["response"], ours[1]["thinking"], ours[1]["response"]) == ("a", "b", "")


def test_a_loaded_model_is_told_as_ollama_tells_it() -> None:
    """Field by field, by both routes."""
    for name, asked in (
        ("load", loading("/api/generate")),
        ("generate-unload", loading("/api/generate", keep_alive=0)),
        ("chat-no-messages", loading("/api/chat")),
    ):
        theirs = json.loads(recorded(OLLAMA, name).body)
        ours = json.loads(loaded(asked, now()))
        assert ours == {**theirs, "model": "mine", "created_at": "2023-11-14T22:13:22+00:00"} | {
            "created_at": ours["created_at"]
        }
        assert ours["created_at"] == "2023-11-14T22:13:22.000000+00:00"


def test_zed_finds_its_fields_in_every_line() -> None:
    """`model`, `created_at`, `message` with `role` and `content`, `done`: also in the last."""
    said = written(
        sse(
            delta(role="assistant", content=""),
            delta(reasoning_content="hm"),
            delta(content="x"),
            call(0, "c", "f", "{}"),
            finish("tool_calls"),
        )
    )
    assert len(said) == 4
    for line in said:
        assert isinstance(line["model"], str)
        assert isinstance(line["created_at"], str)
        assert line["message"]["role"] == "assistant"
        assert isinstance(line["message"]["content"], str)
        assert isinstance(line["done"], bool)
    assert [line["done"] for line in said] == [False, False, False, True]


def test_pieces_of_calls_are_one_line_when_they_are_whole() -> None:
    """Two at once, in pieces that alternate; arguments are objects."""
    said = written(
        sse(
            call(0, "a", "f", ""),
            call(1, "b", "g", '{"x'),
            call(0, None, None, '{"city": "東'),
            call(1, None, None, '":1}'),
            call(0, None, None, '京"}'),
            delta(content="and text"),
            finish("tool_calls"),
        ),
        usage=Usage(3, 4),
    )
    assert said[0]["message"]["content"] == "and text"
    assert said[1]["message"]["tool_calls"] == [
        {"id": "a", "function": {"index": 0, "name": "f", "arguments": {"city": "東京"}}},
        {"id": "b", "function": {"index": 1, "name": "g", "arguments": {"x": 1}}},
    ]
    assert said[1]["done"] is False
    assert (said[2]["done_reason"], said[2]["eval_count"]) == ("stop", 4)


@pytest.mark.parametrize(
    "pieces",
    [
        [call(0, "a", "f", "{}"), call(0, "b", "g", "{}")],
        [call(None, "a", "f", "{}"), call(None, "b", "g", "{}")],
        [call(0, "a", "f", {}), call(1, "b", "g", None)],
    ],
)
def test_engines_that_count_calls_wrongly_lose_none(pieces: list[dict[str, Any]]) -> None:
    """All with index 0, none at all, an object instead of its text."""
    said = written(sse(*pieces, finish("stop")))
    calls = said[0]["message"]["tool_calls"]
    assert [each["id"] for each in calls] == ["a", "b"]
    assert [each["function"]["name"] for each in calls] == ["f", "g"]
    assert [each["function"]["arguments"] for each in calls] == [{}, {}]


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("", {}),
        ('{\n  "a": 1\n}', {"a": 1}),
        ('{"a":', {"arguments": '{"a":'}),
        ("[1]", {"arguments": "[1]"}),
        ("Tokyo", {"arguments": "Tokyo"}),
    ],
)
def test_arguments_are_an_object_whatever_the_model_wrote(text: str, arguments: Any) -> None:
    """Clients fail at anything else; what is none is kept, on one line."""
    (first, _) = written(sse(call(0, None, "f", text)))
    (made,) = first["message"]["tool_calls"]
    assert made["function"]["arguments"] == arguments
    assert made["id"] == "call_req_1_0"


def test_calls_without_bound_break_the_stream() -> None:
    """Nothing that an engine sends grows without end; what came before it is kept."""
    writer = chat().writer(STAMP)
    many = [call(index, None, "f", "") for index in range(300)]
    with pytest.raises(StreamBroken) as caught:
        writer.feed(sse(delta(content="before"), *many))
    assert b"before" in caught.value.before
    large = chat().writer(STAMP)
    with pytest.raises(StreamBroken):
        large.feed(sse(*[call(0, None, "f", "x" * (1 << 19))] * 17))


@pytest.mark.parametrize(
    ("finish_reason", "told"),
    [("stop", "stop"), ("length", "length"), ("tool_calls", "stop"), ("content_filter",) * 2],
)
def test_why_it_ended_is_told(finish_reason: str, told: str) -> None:
    """In Ollama's words where it has them."""
    assert written(sse(finish(finish_reason)))[-1]["done_reason"] == told


def test_the_last_line_has_every_duration() -> None:
    """By the clock: until the first token, and from there; nothing is known of loading."""
    times = iter([1700000000.5, 1700000002.0])
    asked = chat()
    asked._now = lambda: next(times)
    last = written(sse(delta(content="x"), delta(content="y")), asked=asked)[-1]
    assert last["prompt_eval_duration"] == 500_000_000
    assert last["eval_duration"] == 1_500_000_000
    assert (last["total_duration"], last["load_duration"]) == (2_000_000_000, 0)
    assert "eval_count" not in last


def test_an_engines_own_durations_count() -> None:
    """llama.cpp tells them in its last event, and in its whole answer."""
    last = written(sse({**finish("stop"), "timings": {"prompt_ms": 1.5, "predicted_ms": 2}}))[-1]
    assert (last["prompt_eval_duration"], last["eval_duration"]) == (1_500_000, 2_000_000)
    body = recorded(LLAMACPP, "chat").body
    whole = json.loads(chat().answer(body, Usage(1, 2), STAMP))
    assert whole["prompt_eval_duration"] == 2_286_000


def test_text_in_parts_and_refusals_are_text() -> None:
    """No text is lost, wherever an engine puts it."""
    said = written(
        sse(
            delta(content=[{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]),
            delta(refusal="no"),
            delta(content=None, reasoning="r", reasoning_content="r"),
        )
    )
    assert [line["message"]["content"] for line in said] == ["ab", "no", "", ""]
    assert said[2]["message"]["thinking"] == "r"


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"choices":[]}', b'{"choices":[{"message":7}]}']
)
def test_what_is_no_answer_is_an_error(body: bytes) -> None:
    """502, never an answer that looks whole."""
    with pytest.raises(EngineError) as caught:
        chat().answer(body, None, STAMP)
    assert caught.value.code == "bad_engine_answer"


def test_an_event_that_cannot_be_read_is_an_error() -> None:
    """It may hold text."""
    with pytest.raises(EngineError) as caught:
        chat().writer(STAMP).feed(sse(delta(content="x")) + b"data: {\n\n")
    assert lines(caught.value.before)[0]["message"]["content"] == "x"


def test_an_answer_of_completions_is_one_of_generate() -> None:
    """Whole and streamed; `raw` was asked."""
    way = generate(raw=True).native(OPENAI_TARGET)
    assert way is not None
    body = (
        b'{"choices":[{"text":"abc","finish_reason":"length"}],'
        b'"usage":{"prompt_tokens":1,"completion_tokens":2}}'
    )
    answer = way.answer(OPENAI_TARGET, body)
    assert answer.usage == Usage(1, 2)
    assert json.loads(answer.body)["response"] == "abc"
    events = [
        {"model": "tiny-llama", "choices": [{"index": 0, "text": text}]} for text in ("日", "本")
    ]
    last = {"choices": [{"index": 0, "text": "", "finish_reason": "stop"}]}
    counted = {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2}}
    told = drive(way.stream(OPENAI_TARGET), [sse(*events, last, counted), b"data: [DONE]\n\n"])
    said = lines(told.sent + told.tail)
    assert [line["response"] for line in said] == ["日", "本", ""]
    assert (said[-1]["prompt_eval_count"], said[-1]["eval_count"]) == (5, 2)
    assert told.started


# Whatever comes, in whatever pieces.

SAID = ["こんにちは、", "😀👨‍👩‍👧", "[DONE]", "\r\n\r\n", "\\", '"', "\u2028", "ﾊﾝ", "data: {"]
texts = st.sampled_from(SAID) | st.text(max_size=6)
pieces = st.one_of(
    texts.map(lambda text: delta(content=text)),
    texts.map(lambda text: delta(reasoning_content=text)),
    texts.map(lambda text: delta(reasoning=text, reasoning_content=text)),
    st.tuples(st.integers(0, 3), texts).map(lambda each: call(each[0], None, None, each[1])),
    st.just({"choices": []}),
    st.just(delta(role="assistant", content="")),
)
cuts = st.lists(st.integers(0, 10_000), max_size=12)


def everything(chunks: list[dict[str, Any]]) -> tuple[str, str, list[str]]:
    """All text, all thoughts, and the text of every call's arguments."""
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks if chunk["choices"]]
    calls: dict[int, str] = {}
    for each in deltas:
        for piece in each.get("tool_calls", ()):
            calls[piece["index"]] = calls.get(piece["index"], "") + piece["function"]["arguments"]
    return (
        "".join(each.get("content", "") for each in deltas),
        "".join(each.get("reasoning_content", "") for each in deltas),
        list(calls.values()),
    )


@given(st.lists(pieces, max_size=8), cuts, st.sampled_from(["\n", "\r\n"]), st.integers(0, 9))
def test_nothing_is_lost_and_any_cut_gives_the_same_lines(
    chunks: list[dict[str, Any]], places: list[int], newline: str, count: int
) -> None:
    """Text, thoughts, tool calls, usage; the network may cut inside characters."""
    counted = {"choices": [], "usage": {"prompt_tokens": count, "completion_tokens": 2}}
    said = [*chunks, finish("stop"), counted]
    whole = sse(*said, newline=newline) + b"data: [DONE]\n\n"
    uncut = drive(reader(chat(), "openai"), [whole])
    assert uncut.error is None
    at = sorted({0, len(whole), *(cut % (len(whole) + 1) for cut in places)})
    cut = drive(reader(chat(), "openai"), [whole[start:end] for start, end in pairwise(at)])
    assert cut == uncut
    told = lines(uncut.sent + uncut.tail)
    text, thoughts, calls = everything(chunks)
    messages = [line["message"] for line in told]
    assert "".join(each["content"] for each in messages) == text
    assert "".join(each.get("thinking", "") for each in messages) == thoughts
    made = [each for message in messages for each in message.get("tool_calls", ())]
    assert len(made) == len(calls)
    assert told[-1]["prompt_eval_count"] == count
    assert [line["done"] for line in told] == [False] * (len(told) - 1) + [True]


SHAPES = [
    Shape(b"", b"", b'data: {"choices":[{"delta":{"content":"', b'"}}]}\n\n'),
    Shape(b"", b"", b'data: {"choices":[{"delta":{"reasoning":"', b'"}}]}\n\n'),
    Shape(b"", b"", b'data: {"choices":[{"delta":{"content":null,"reasoning":"', b'"}}]}\n\n'),
    Shape(
        b"", b"", b'data: {"choices":[{"delta":{"reasoning":"', b'"}}]}\n\n',
        b'","reasoning_content":"',
    ),
    Shape(b"", b"", b'data: {"choices":[{"text":"', b'"}]}\n\n'),
]  # fmt: skip


@given(st.sampled_from(SHAPES), st.text(min_size=1, max_size=8))
def test_events_of_a_shape_are_what_feed_would_have_written(shape: Shape, text: str) -> None:
    """So they need not be given to it."""
    escaped = json.dumps(text, ensure_ascii=False).encode("utf-8", "replace")[1:-1]
    again = shape.again + escaped if shape.again else b""
    writer = chat().writer(STAMP)
    ours = writer.shape(shape)
    assert ours is not None
    fed = writer.feed(shape.lead + escaped + again + shape.trail)
    assert ours.lead + escaped + ours.trail == fed
    assert ours.again == b""


@pytest.mark.parametrize(
    ("lead", "trail"),
    [
        (b'data: {"choices":[{"delta":{"tool_calls":[{"function":{"arguments":"', b'"}}]}}]}\n\n'),
        (b'data: {"choices":[{"delta":{"content":"', b'"},"finish_reason":"stop"}]}\n\n'),
        (b'data: {"choices":[{"delta":{"content":"a","reasoning":"', b'"}}]}\n\n'),
        (b'data: {"choices":[{"delta":{"content":"', b'"},"logprobs":{"content":[]}}]}\n\n'),
        (b'data: {"choices":[{"delta":{"content":"', b'"}}],"timings":{}}\n\n'),
        (b'data: {"choices":[{"delta":{"refusal":"', b'"}}]}\n\n'),
        (b'data: {"choices":[],"x":"', b'"}\n\n'),
        (b": ping ", b"\n\n"),
        (b'data: {"choices":[{"delta":{"content":"', b'"}}]}\n'),
        (b"data: {", b"\n\n"),
    ],
)
def test_events_that_say_more_must_be_seen(lead: bytes, trail: bytes) -> None:
    """A call, an end, chances, durations: `feed` must know."""
    assert chat().writer(STAMP).shape(Shape(b"", b"", lead, trail)) is None
