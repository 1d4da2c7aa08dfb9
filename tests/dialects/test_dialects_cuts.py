"""Wherever the network cuts a stream, the client gets the same bytes."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from dialects_recorded import Result, drive, events, reader, recorded
from hypothesis import given
from hypothesis import strategies as st

from flm.dialects.engine import StreamReader
from flm.errors import EngineError

TEXTS = [
    "こんにちは、",
    "😀👨‍👩‍👧",
    "[DONE]",
    "ends with [DONE]\n\n",
    'x "usage" y',
    "\r\n\r\n",
    "\\",
    "ﾊﾝ",
]


def sse(texts: list[str], newline: bytes, ending: bytes) -> bytes:
    chunks = [
        {"model": "tiny-llama", "choices": [{"index": 0, "delta": {"content": text}}]}
        for text in texts
    ]
    chunks.append({"model": "tiny-llama", "choices": [], "usage": {"prompt_tokens": 1}})
    lines = [b"data: " + json.dumps(chunk, ensure_ascii=False).encode() for chunk in chunks]
    lines.insert(1, b": ping")
    whole = b"".join(line + b"\n\n" for line in lines) + ending
    return whole.replace(b"\n", newline)


def ndjson(texts: list[str], ending: bytes) -> bytes:
    lines = [
        {"model": "tiny", "message": {"role": "assistant", "content": text}, "done": False}
        for text in texts
    ]
    said = b"".join(json.dumps(line, ensure_ascii=False).encode() + b"\n" for line in lines)
    return said + ending


def pieces_of(whole: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(whole), *(cut % (len(whole) + 1) for cut in cuts)})
    return [whole[start:end] for start, end in pairwise(places)]


cuts = st.lists(st.integers(0, 10_000), max_size=12)
texts = st.lists(st.sampled_from(TEXTS) | st.text(max_size=6), min_size=1, max_size=6)
WHY = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
SSE_ENDINGS = [
    WHY + b"data: [DONE]\n\n",
    b"data: [DONE]\n\n",
    b"",
    b'data: {"error":{"message":"died"}}\n\n',
    b"data: {",
]
LINE_ENDINGS = [
    b'{"done":true,"done_reason":"stop","prompt_eval_count":1,"eval_count":2}\n',
    b"",
    b'{"error":"died"}\n',
    b'{"message":',
]


@given(texts, cuts, st.sampled_from([b"\n", b"\r\n"]), st.sampled_from(SSE_ENDINGS))
def test_any_cut_of_events_gives_the_same(
    said: list[str], places: list[int], newline: bytes, ending: bytes
) -> None:
    """Server-sent events: text, usage, end mark and error, with both kinds of line ends."""
    whole = sse(said, newline, ending)
    uncut = drive(reader("openai"), [whole])
    assert drive(reader("openai"), pieces_of(whole, places)) == uncut


def unfed(stream: StreamReader, event: bytes) -> bytes | None:
    """What the shape learned last says of an event that `feed` does not see; None: nothing."""
    shape = stream.shape(LAST)
    if shape is None or not (event.startswith(shape.before) and event.endswith(shape.after)):
        return None
    text = event[len(shape.before) : -len(shape.after)]
    whole = len(event) >= len(shape.before) + len(shape.after)
    plain = whole and b"\n" not in text and text.count(b'"') == text.count(b'\\"')
    middle = text + shape.again + text if shape.again else text
    return shape.lead + middle + shape.trail if plain else None


def delta(field: str, text: str, **more: object) -> bytes:
    """An event whose delta has that one field."""
    event = {"model": "tiny-llama", "choices": [{"index": 0, "delta": {field: text}}], **more}
    return b"data: " + json.dumps(event, ensure_ascii=False).encode() + b"\n\n"


LAST = delta("content", "last")
MORE: list[dict[str, object]] = [
    {},
    {"usage": None},
    {"usage": {"prompt_tokens": 1, "completion_tokens": 2}},
    {"error": {"message": "no"}},
    {"object": "error"},
]


@given(
    st.sampled_from(["content", "reasoning_content", "role"]),
    st.sampled_from([*TEXTS, "error", "usage", "[DONE]", "", 'a "b"']) | st.text(max_size=6),
    st.sampled_from(MORE),
    st.sampled_from(["mine", "tiny-llama"]),
)
def test_an_event_of_the_learned_shape_is_what_feed_would_return(
    field: str, text: str, more: dict[str, object], model: str
) -> None:
    """Passing it by changes neither the client's bytes nor what the reader knows."""
    event = delta(field, text, **more)
    seeing, passing = (reader("openai", model=model) for _ in range(2))
    for stream in (seeing, passing):
        stream.feed(delta("content", "first"))
        stream.feed(LAST)
    by = unfed(passing, event)
    assert (by is None) == (field != "content" or more != {})
    pieces = [event, delta("content", "x"), WHY, b"data: [DONE]\n\n"]
    rest = pieces if by is None else pieces[1:]
    passed = drive(passing, rest)
    assert passed._replace(sent=(by or b"") + passed.sent) == drive(seeing, pieces)


@given(texts, cuts, st.sampled_from(LINE_ENDINGS))
def test_any_cut_of_lines_gives_the_same(said: list[str], places: list[int], ending: bytes) -> None:
    """Ollama's lines, cut inside characters too."""
    whole = ndjson(said, ending)
    uncut = drive(reader("ollama"), [whole])
    assert drive(reader("ollama"), pieces_of(whole, places)) == uncut


@given(texts)
def test_text_comes_through_both_dialects_unchanged(said: list[str]) -> None:
    """Byte for byte what the engine wrote."""
    through: list[Result] = [
        drive(reader("openai"), [sse(said, b"\n", SSE_ENDINGS[0])]),
        drive(reader("ollama"), [ndjson(said, LINE_ENDINGS[0])]),
    ]
    for result in through:
        sent = result.sent.replace(b": ping\n\n", b"")
        deltas = [choice["delta"] for event in events(sent) for choice in event["choices"]]
        assert "".join(delta.get("content") or "" for delta in deltas) == "".join(said)
        assert result.error is None


@pytest.mark.parametrize(
    ("dialect", "engine", "name"),
    [
        ("openai", "llamacpp-xllamacpp-2026.10", "chat-stream-usage"),
        ("openai", "llamacpp-xllamacpp-2026.10", "chat-tool-forced-stream"),
        ("openai", "vllm-0.32.0-cpu", "chat-stream-usage"),
        ("openai", "text-generation-webui-4.7.3", "chat-stream-usage"),
        ("ollama", "ollama-0.33.0-rc2", "chat-stream"),
        ("ollama", "ollama-0.33.0-rc2", "chat-stream-logprobs"),
        ("ollama", "ollama-0.33.0-rc2", "chat-think-stream"),
        ("ollama", "ollama-0.33.0-rc2", "chat-tools-stream"),
        ("ollama", "ollama-0.33.0-rc2", "chat-stream-model-dies"),
    ],
)
def test_a_recorded_stream_may_be_cut_at_every_byte(dialect: str, engine: str, name: str) -> None:
    """In two at each position, and into single bytes."""
    whole = recorded(engine, name).body
    uncut = drive(reader(dialect), [whole])
    for place in range(1, len(whole)):
        assert drive(reader(dialect), [whole[:place], whole[place:]]) == uncut
    assert drive(reader(dialect), [bytes([byte]) for byte in whole]) == uncut


@given(st.sampled_from(["openai", "ollama"]), st.lists(st.binary(max_size=60), max_size=5))
def test_any_bytes_are_a_stream_or_an_error(dialect: str, garbage: list[bytes]) -> None:
    """Nothing but an engine's error is ever raised."""
    stream = reader(dialect)
    try:
        for piece in garbage:
            stream.feed(piece)
            stream.feed(b'{"message":{"content":"x"}}\n\n')
        stream.end()
    except EngineError as error:
        assert error.status >= 400
