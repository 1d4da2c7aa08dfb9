"""Engines that speak the Messages API by themselves: recorded answers, passed on."""

from __future__ import annotations

import json

import pytest
from anthropic_said import LLAMACPP, NATIVE, OLLAMA, VLLM, events, parsed, recorded, streamed

from flm.dialects.client_anthropic.native import MessagesStream, NativeMessages
from flm.dialects.codec import Usage
from flm.errors import EngineError, StreamBroken

START = (
    b'event: message_start\ndata: {"type":"message_start","message":{"id":"m","type":"message",'
    b'"role":"assistant","content":[],"model":"tiny-llama","usage":{"input_tokens":1,'
    b'"cache_read_input_tokens":2,"output_tokens":0}}}\n\n'
)
OPEN = (
    b'event: content_block_start\ndata: {"type":"content_block_start","index":0,'
    b'"content_block":{"type":"text","text":""}}\n\n'
)
CLOSE = (
    b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn"},'
    b'"usage":{"output_tokens":3}}\n\n'
)
STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'


def text(words: str) -> bytes:
    said = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta"}}
    said["delta"]["text"] = words
    data = json.dumps(said, ensure_ascii=False, separators=(",", ":"))
    return f"event: content_block_delta\ndata: {data}\n\n".encode()


def stream(model: str = "mine") -> MessagesStream:
    return MessagesStream(model, NATIVE)


def native() -> NativeMessages:
    found = parsed().native(NATIVE)
    assert found is not None
    return found


def counts(usage: Usage | None) -> tuple[int | None, int | None, int | None]:
    assert usage is not None
    return usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens


@pytest.mark.parametrize(("engine", "expected"), [(LLAMACPP, (22, 5, 21)), (VLLM, (18, 5, None))])
def test_recorded_streams_go_on_with_the_client_s_name(
    engine: str, expected: tuple[int, int, int | None]
) -> None:
    """Wherever they are cut: the same bytes but for the model, the same counts."""
    whole = b"".join(recorded(engine, "messages-stream"))
    results = set()
    for cut in range(len(whole)):
        reader = stream()
        results.add(streamed(reader, [whole[:cut], whole[cut:]]))
        assert counts(reader.usage) == expected
    assert len(results) == 1
    sent = results.pop()
    assert events(sent)[0]["message"]["model"] == "mine"
    theirs = whole.partition(b"\n\n")
    assert sent.partition(b"\n\n")[2] == theirs[2]
    assert streamed(stream("tiny-llama"), [whole]) == whole


@pytest.mark.parametrize(("engine", "expected"), [(LLAMACPP, (22, 5, 21)), (VLLM, (18, 5, None))])
def test_recorded_answers_go_on_with_the_client_s_name(
    engine: str, expected: tuple[int, int, int | None]
) -> None:
    """And nothing else is changed."""
    body = recorded(engine, "messages")[0]
    answer = native().answer(NATIVE, body)
    assert counts(answer.usage) == expected
    assert json.loads(answer.body) == {**json.loads(body), "model": "mine"}


def test_the_end_mark_is_held_back() -> None:
    """It is the last thing that leaves."""
    reader = stream("tiny-llama")
    assert reader.feed(START + OPEN) == START + OPEN
    assert not reader.started
    assert reader.feed(text("a")) == text("a")
    assert (reader.started, reader.finished, reader.tail) == (True, False, b"")
    assert reader.feed(CLOSE + STOP + b"data: [DONE]\n\n") == CLOSE
    assert (reader.finished, reader.tail) == (True, STOP)
    assert counts(reader.usage) == (3, 3, 2)
    reader.end()


def test_an_end_mark_without_its_blank_line_counts() -> None:
    """The answer is whole."""
    reader = stream()
    reader.feed(START + text("a") + STOP.rstrip())
    reader.end()
    assert reader.tail == STOP


def test_a_stream_without_its_end_is_broken() -> None:
    """Recorded from an Ollama whose model died."""
    reader = stream()
    for piece in recorded(OLLAMA, "v1-messages-stream-model-dies"):
        reader.feed(piece)
    with pytest.raises(StreamBroken):
        reader.end()


def test_an_error_event_is_an_error_behind_what_was_said() -> None:
    """In FLM's words, the engine's cleaned."""
    error = (
        b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error",'
        b'"message":"at http://127.0.0.1:8080 it failed"}}\n\n'
    )
    reader = stream()
    with pytest.raises(EngineError) as found:
        reader.feed(START + text("a") + error)
    assert found.value.before.endswith(text("a"))
    assert "127.0.0.1" not in found.value.message


def test_what_a_model_writes_is_never_taken_for_an_event() -> None:
    """Words of the protocol inside a text."""
    words = ['{"type":"message_stop"}', "message_stop", "error", '"error"', "\n\nevent: error"]
    said = b"".join(text(word) for word in words)
    assert streamed(stream("tiny-llama"), [START, text("a"), said, CLOSE, STOP]) == (
        START + text("a") + said + CLOSE + STOP
    )


def test_plain_events_need_no_look() -> None:
    """They go on as they are, once content has begun; others never."""
    reader = stream()
    reader.feed(START)
    assert reader.shape(START) is None
    reader.feed(text("a"))
    shape = reader.shape(text("abc"))
    assert shape is not None
    assert (shape.lead, shape.trail) == (shape.before, shape.after)
    assert shape.before + b"x" + shape.after == text("x")
    assert reader.shape(text("y")) is shape
    assert reader.shape(CLOSE) is None


def test_an_event_without_end_is_refused() -> None:
    """At 1 MB."""
    reader = stream()
    reader.feed(START)
    with pytest.raises(StreamBroken) as found:
        reader.feed(b"data: " + b"x" * (1 << 20))
    assert found.value.code == "event_too_large"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"nonsense", "bad_engine_answer"),
        (b"{}", "bad_engine_answer"),
        (b'{"type":"error","error":{"type":"api_error","message":"it broke"}}', "engine_error"),
    ],
)
def test_what_is_no_message_is_an_error(body: bytes, code: str) -> None:
    """Also where the status said 200."""
    with pytest.raises(EngineError) as found:
        native().answer(NATIVE, body)
    assert found.value.code == code


def test_comments_and_pings_go_on() -> None:
    """They are part of the dialect."""
    ping = b'event: ping\ndata: {"type":"ping"}\n\n'
    pieces = [START, ping, b": wait\n\n", text("a"), ping, STOP]
    assert streamed(stream("tiny-llama"), pieces) == b"".join(pieces)


def test_a_sequence_that_ended_the_answer_is_named_as_the_reason() -> None:
    """llama.cpp 2026.10 tells the sequence, and calls it the end of the turn."""
    body = b'{"content":[],"model":"x","stop_reason":"end_turn","stop_sequence":"END"}'
    answer = json.loads(native().answer(NATIVE, body).body)
    assert (answer["stop_reason"], answer["stop_sequence"]) == ("stop_sequence", "END")
    delta = CLOSE.replace(b'"end_turn"', b'"end_turn","stop_sequence":"END"')
    sent = streamed(stream("tiny-llama"), [START, text("a"), delta, STOP])
    assert events(sent)[-2] == {
        "type": "message_delta",
        "delta": {"stop_reason": "stop_sequence", "stop_sequence": "END"},
        "usage": {"output_tokens": 3},
    }
