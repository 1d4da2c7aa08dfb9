"""Engines of the same dialect: bodies, answers and streams go through, but for the name."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import pytest
from dialects_recorded import (
    LLAMACPP,
    OPENAI_TARGET,
    VLLM,
    WEBUI,
    chat,
    drive,
    embeddings,
    events,
    reader,
    recorded,
    said,
)
from openai.types import CreateEmbeddingResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from flm.dialects.chat_parsing import parse_chat
from flm.dialects.engine import CODECS, Usage
from flm.domain.policy import Policy
from flm.errors import EngineError, StreamBroken

CODEC = CODECS["openai"]


def event(**fields: object) -> bytes:
    whole = {"id": "c", "object": "chat.completion.chunk", "model": "tiny-llama", **fields}
    return b"data: " + json.dumps(whole, ensure_ascii=False).encode() + b"\n\n"


def text_event(text: str) -> bytes:
    return event(choices=[{"index": 0, "delta": {"content": text}, "finish_reason": None}])


DONE = b"data: [DONE]\n\n"
WHY = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
USAGE = event(choices=[], usage={"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7})


def test_a_request_goes_on_with_the_engines_model() -> None:
    """Every other field is untouched."""
    call = CODEC.chat(chat(top_k=5, logit_bias={"7": -100}), OPENAI_TARGET)
    assert call.path == "/v1/chat/completions"
    assert json.loads(call.body) == {
        "model": "tiny-llama",
        "messages": [{"role": "user", "content": "hi"}],
        "top_k": 5,
        "logit_bias": {"7": -100},
    }


def test_duplicate_keys_reach_the_engine_once() -> None:
    """What was judged is what the engine reads."""
    body = b'{"model":"tiny-llama","n":1,"messages":[{"role":"user"}],"n":2}'
    call = CODEC.chat(parse_chat(body, Policy()), OPENAI_TARGET)
    assert call.body == b'{"model":"tiny-llama","n":2,"messages":[{"role":"user"}]}'


def test_usage_is_always_asked_for_in_streams() -> None:
    """The client's other stream options stay."""
    request = chat(stream=True, stream_options={"include_usage": False, "x": 1})
    sent = json.loads(CODEC.chat(request, OPENAI_TARGET).body)
    assert sent["stream_options"] == {"include_usage": True, "x": 1}
    assert "stream_options" not in json.loads(CODEC.chat(chat(), OPENAI_TARGET).body)


def test_the_request_is_not_changed_by_a_call() -> None:
    """Another target may be tried with it."""
    request = chat(stream=True)
    first = CODEC.chat(request, OPENAI_TARGET)
    assert CODEC.chat(request, OPENAI_TARGET) == first
    assert "stream_options" not in request.fields


@pytest.mark.parametrize("engine", [LLAMACPP, VLLM])
def test_an_answer_bears_the_clients_name_for_the_model(engine: str) -> None:
    """And is otherwise what the engine said; its usage is read."""
    body = recorded(engine, "chat").body
    answer = CODEC.chat_answer(chat(), OPENAI_TARGET, body, 0, "")
    assert json.loads(answer.body) == {**json.loads(body), "model": "mine"}
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 8
    assert ChatCompletion.model_validate_json(answer.body).model == "mine"


def test_an_answer_with_the_right_name_is_passed_on_as_it_is() -> None:
    """The same bytes."""
    body = recorded(LLAMACPP, "chat").body
    assert CODEC.chat_answer(chat(model="tiny-llama"), OPENAI_TARGET, body, 0, "").body is body


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"choices":', b'{"\xff":1}'])
def test_an_answer_that_is_none_is_an_error(body: bytes) -> None:
    """502, and no retry."""
    with pytest.raises(EngineError) as found:
        CODEC.chat_answer(chat(), OPENAI_TARGET, body, 0, "")
    error = found.value
    assert (error.status, error.code, error.should_retry) == (502, "bad_engine_answer", False)


def test_a_200_with_an_error_in_it_is_an_error() -> None:
    """LM Studio answers unknown routes so."""
    with pytest.raises(EngineError) as found:
        CODEC.chat_answer(
            chat(), OPENAI_TARGET, b'{"error":"Unexpected endpoint or method. (POST /x)"}', 0, ""
        )
    assert (found.value.status, found.value.code) == (400, "unsupported_operation")


def both_names(delta: dict[str, Any]) -> dict[str, Any]:
    """The delta with its reasoning under both names."""
    thought = delta.get("reasoning") or delta.get("reasoning_content")
    return {**delta, "reasoning": thought, "reasoning_content": thought} if thought else delta


@pytest.mark.parametrize(
    ("engine", "name", "tokens"),
    [
        (LLAMACPP, "chat-stream-usage", 5),
        (VLLM, "chat-stream-usage", 5),
        (WEBUI, "chat-stream-usage", 2),
        ("ollama-0.33.0-rc2", "v1-chat-think-stream", 10),
        ("ollama-0.33.0-rc2", "v1-chat-tools-stream", 6),
        ("vllm-0.32.0-cpu-tools-and-key", "chat-tool-forced-stream", None),
    ],
)
@pytest.mark.parametrize("include_usage", [True, False])
def test_a_recorded_stream_arrives(
    engine: str, name: str, tokens: int | None, include_usage: bool
) -> None:
    """Every event but the end mark, and the usage chunk only when it was asked for."""
    pieces = recorded(engine, name).pieces
    options = {"include_usage": include_usage}
    result = drive(reader("openai", stream_options=options), pieces)
    theirs = events(b"".join(pieces).replace(DONE, b""))
    for choice in (choice for chunk in theirs for choice in chunk["choices"]):
        choice["delta"] = both_names(choice["delta"])
    expected = [{**chunk, "model": "mine"} for chunk in theirs if chunk["choices"] or include_usage]
    assert events(result.sent) == expected
    assert (result.error, result.tail, result.started) == (None, DONE, True)
    assert (result.usage and result.usage.completion_tokens) == tokens
    chunks = [ChatCompletionChunk.model_validate(chunk) for chunk in events(result.sent)]
    assert {chunk.model for chunk in chunks} == {"mine"}


def test_an_event_with_nothing_to_see_in_it_is_the_same_object() -> None:
    """No copy is made of what only passes through."""
    stream = reader("openai", model="tiny-llama")
    stream.feed(text_event("a"))
    piece = text_event("b") + text_event("[DON") + event(choices=[{"delta": {}}], usage=None)
    assert stream.feed(piece) is piece


@pytest.mark.parametrize("engine", [VLLM, LLAMACPP])
def test_a_recorded_stream_s_words_are_of_one_shape(engine: str) -> None:
    """Once two events were seen, the ones between them and the end need not be fed."""
    stream = reader("openai")
    pieces = recorded(engine, "chat-stream").pieces
    shapes = []
    for piece in pieces[:4]:
        stream.feed(piece)
        shapes.append(stream.shape(piece))
    assert shapes[3] is shapes[2] is not None
    assert b'"model":"mine"' in (shapes[3].lead + shapes[3].trail).replace(b" ", b"")


@pytest.mark.parametrize(
    "piece",
    [
        text_event("b")[:-1],
        text_event("b") + b"data",
        text_event("b") + WHY + DONE,
        event(choices=[{"delta": {}}]),
        text_event(""),
        event(choices=[{"delta": {"content": "b"}}], usage={"prompt_tokens": 3}),
        b": ping\n\n",
    ],
)
def test_events_that_must_be_seen_have_no_shape(piece: bytes) -> None:
    """Half an event, the end, usage, one without a text."""
    stream = reader("openai")
    stream.feed(text_event("a"))
    stream.feed(piece)
    assert stream.shape(piece) is None


def test_nothing_has_a_shape_before_the_first_text() -> None:
    """The first event with content is waited for."""
    stream = reader("openai")
    role = event(choices=[{"delta": {"role": "assistant", "name": "content"}}])
    stream.feed(role)
    assert stream.shape(text_event("a")) is None


def test_the_end_mark_counts_only_as_a_line_of_its_own() -> None:
    """A model may write it, at the start of its text too."""
    texts = ["[DONE]", "say [DONE] now", "data: [DONE]\n\n", "\ndata: [DONE]\n"]
    stream = reader("openai")
    sent = b"".join(stream.feed(text_event(text)) for text in texts)
    assert not stream.finished
    assert said(sent) == "".join(texts)
    assert (stream.feed(WHY + DONE), stream.finished, stream.tail) == (WHY, True, DONE)
    assert stream.feed(text_event("more")) == b""


@pytest.mark.parametrize(
    "end", [b"data: [DONE]\n\n", b"data:[DONE]\r\n\r\n", b"data: [DONE]\n", b"data: [DONE]"]
)
def test_end_marks_are_known_in_every_spelling(end: bytes) -> None:
    """With a space or without, LF or CRLF, and where the blank line behind it is missing."""
    result = drive(reader("openai"), [text_event("a"), WHY, end])
    assert (said(result.sent), result.error, result.tail) == ("a", None, DONE)


def test_an_end_mark_right_behind_an_event_loses_neither() -> None:
    """Some engines forget the blank line between the two."""
    result = drive(reader("openai"), [WHY, text_event("a")[:-1] + DONE])
    assert (said(result.sent), result.error, result.tail) == ("a", None, DONE)


def test_a_stream_without_its_end_mark_is_broken() -> None:
    """Recorded from an Ollama whose model died: the half of the answer must not look whole."""
    pieces = recorded("ollama-0.33.0-rc2", "v1-chat-stream-model-dies").pieces
    result = drive(reader("openai"), pieces)
    assert result.error == (
        "stream_interrupted",
        "The engine's stream ended before it was complete.",
    )
    assert len(events(result.sent)) == len(events(b"".join(pieces)))
    assert result.tail == b""


def test_half_an_event_is_dropped_when_the_stream_breaks() -> None:
    """Clients get whole events only."""
    result = drive(reader("openai"), [text_event("a"), text_event("b")[:-9]])
    assert (said(result.sent), result.tail) == ("a", b"")
    assert result.error is not None


def test_an_end_mark_without_a_reason_does_not_make_an_answer_whole() -> None:
    """An engine that gives up sends one too."""
    result = drive(reader("openai"), [text_event("a"), DONE])
    assert result.error is not None
    assert result.error[0] == "stream_interrupted"
    assert result.tail == b""


@pytest.mark.parametrize("after", [b"", DONE])
def test_an_error_in_mid_stream_is_raised_with_what_came_before(after: bytes) -> None:
    """llama.cpp ends there, vLLM sends an end mark behind it."""
    error = b'data: {"error":{"message":"boom at 127.0.0.1:9","type":"X","code":500}}\n\n'
    stream = reader("openai")
    with pytest.raises(EngineError) as found:
        stream.feed(text_event("a") + text_event("b") + error + after)
    assert said(found.value.before) == "ab"
    assert (found.value.status, found.value.code) == (502, "engine_error")
    assert found.value.message == "The engine failed: boom at [address]"
    assert not stream.finished


def test_the_words_error_and_usage_in_a_text_are_text() -> None:
    """As a whole token, in quotes, or as something that looks like JSON."""
    texts = ["error", "usage", '"error":{"message":"x"}', '{"usage": 1}', "[DONE]"]
    result = drive(reader("openai"), [*map(text_event, texts), WHY, DONE])
    assert (said(result.sent), result.error, result.usage) == ("".join(texts), None, None)


def test_the_models_name_in_a_text_is_text() -> None:
    """Only the field is exchanged, not what looks like it inside a string."""
    text = '{"model": "tiny-llama"} "model":"tiny-llama"'
    result = drive(reader("openai"), [text_event("x"), text_event(text)])
    assert said(result.sent) == "x" + text
    assert {chunk["model"] for chunk in events(result.sent)} == {"mine"}


def test_a_name_that_is_spelled_with_escapes_is_the_same_name() -> None:
    """No exchange where the decoded names are equal."""
    piece = text_event("x").replace(b"tiny-llama", b"\\u0074iny-llama")
    stream = reader("openai", model="tiny-llama")
    assert stream.feed(piece) == piece


def test_comments_pass_and_are_no_start() -> None:
    """llama.cpp and others keep the connection alive with them."""
    stream = reader("openai")
    assert stream.feed(b": ping\n\n") == b": ping\n\n"
    assert not stream.started
    assert stream.feed(b": p") == b""
    assert stream.feed(b"ing\r\n\r\n") == b": ping\r\n\r\n"
    stream.feed(event(choices=[{"index": 0, "delta": {"role": "assistant", "content": ""}}]))
    assert not stream.started
    stream.feed(event(choices=[{"index": 0, "delta": {"reasoning": "hm"}}]))
    assert stream.started


def test_an_event_of_more_than_a_megabyte_breaks_the_stream() -> None:
    """What is carried has a bound."""
    stream = reader("openai")
    stream.feed(text_event("a"))
    stream.feed(b"x" * (1 << 20))
    with pytest.raises(StreamBroken) as found:
        stream.feed(b"x")
    assert found.value.code == "event_too_large"


def test_a_usage_chunk_of_the_last_event_with_choices_is_kept() -> None:
    """Only the one without choices is taken out."""
    last = event(
        choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}], usage={"prompt_tokens": 1}
    )
    result = drive(reader("openai"), [text_event("a"), last + USAGE + DONE])
    assert len(events(result.sent)) == 2
    assert result.usage == Usage(3, 4)


def test_embeddings_arrive_in_the_encoding_that_was_asked_for() -> None:
    """Whatever the engine made of `encoding_format`."""
    numbers = recorded("llamacpp-xllamacpp-2026.10-embed", "embeddings").body
    text = recorded("llamacpp-xllamacpp-2026.10-embed", "embeddings-base64").body
    for encoding, body, kind in [
        ("float", numbers, list),
        ("base64", numbers, str),
        ("float", text, list),
        ("base64", text, str),
    ]:
        request = embeddings(input="a", encoding_format=encoding)
        answer = CODEC.embeddings_answer(request, OPENAI_TARGET, body)
        item = json.loads(answer.body)["data"][0]["embedding"]
        assert isinstance(item, kind)
        assert json.loads(answer.body)["model"] == "mine"
        assert answer.usage is not None


def test_numbers_and_base64_are_the_same_embedding() -> None:
    """float32, little end first, as SDKs read it."""
    body = b'{"data":[{"index":0,"embedding":[0.5,-2,3e2]}],"usage":{"prompt_tokens":2}}'
    request = embeddings(input="a", encoding_format="base64")
    answer = json.loads(CODEC.embeddings_answer(request, OPENAI_TARGET, body).body)
    packed = base64.b64decode(answer["data"][0]["embedding"])
    assert struct.unpack("<3f", packed) == (0.5, -2.0, 300.0)
    back = CODEC.embeddings_answer(
        embeddings(input="a"), OPENAI_TARGET, json.dumps(answer).encode()
    )
    assert json.loads(back.body)["data"][0]["embedding"] == [0.5, -2.0, 300.0]
    assert back.usage == Usage(2, None)


def test_an_sdk_reads_embeddings() -> None:
    """vLLM's, with the client's name."""
    body = recorded("vllm-0.32.0-cpu-embed", "embeddings").body
    answer = CODEC.embeddings_answer(embeddings(input=["a", "b"]), OPENAI_TARGET, body)
    assert CreateEmbeddingResponse.model_validate_json(answer.body).model == "mine"


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"data":7}',
        b'{"data":[{}]}',
        b'{"data":[{"embedding":"%%%"}]}',
        b'{"data":[{"embedding":"AAA="}]}',
        b'{"data":[{"embedding":{"a":1}}]}',
    ],
)
def test_embeddings_that_are_none_are_an_error(body: bytes) -> None:
    """502, also when they cannot be brought into the encoding."""
    with pytest.raises(EngineError) as found:
        CODEC.embeddings_answer(embeddings(input="a"), OPENAI_TARGET, body)
    assert found.value.code == "bad_engine_answer"
