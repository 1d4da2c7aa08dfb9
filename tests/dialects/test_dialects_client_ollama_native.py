"""Ollama's own answers, passed on to its clients."""

from __future__ import annotations

import json
from itertools import pairwise

import msgspec
import pytest
from client_ollama_said import chat, generate, lines, without_times
from dialects_recorded import OLLAMA, OLLAMA_TARGET, Result, drive, recorded
from hypothesis import given
from hypothesis import strategies as st

from flm.dialects.codec import StreamReader, Usage
from flm.errors import EngineError
from flm.wire.snapshot import Target


def native(model: str = "mine", there: str = "tiny") -> StreamReader:
    """The stream of a model that the client calls `model`."""
    target: Target = msgspec.structs.replace(OLLAMA_TARGET, model=there)
    way = chat(model=model).native(target)
    assert way is not None
    return way.stream(target)


STREAMS = ["chat-stream", "chat-think-stream", "chat-tools-stream", "chat-stream-logprobs"]


@pytest.mark.parametrize("name", STREAMS)
def test_lines_are_passed_on_as_they_are(name: str) -> None:
    """Byte for byte, under the same name; the last one is held back."""
    real = recorded(OLLAMA, name)
    model = json.loads(real.pieces[0])["model"]
    told = drive(native(model, model), real.pieces)
    assert told.sent + told.tail == real.body
    assert told.tail == real.pieces[-1]
    assert (told.started, told.error) == (True, None)
    assert told.usage is not None
    assert told.usage.completion_tokens == json.loads(told.tail)["eval_count"]


@pytest.mark.parametrize("name", STREAMS)
def test_the_clients_name_stands_in_every_line(name: str) -> None:
    """And nothing else has changed, wherever the network cut it."""
    real = recorded(OLLAMA, name)
    model = json.loads(real.pieces[0])["model"]
    told = drive(native("mine", model), real.pieces)
    ours = lines(told.sent + told.tail)
    assert ours == [{**line, "model": "mine"} for line in lines(real.body)]
    for place in range(1, len(real.body)):
        assert drive(native("mine", model), [real.body[:place], real.body[place:]]) == told
    assert drive(native("mine", model), [bytes([byte]) for byte in real.body]) == told


def test_arguments_keep_what_looks_like_the_models_name() -> None:
    """Only the beginning of a line is exchanged."""
    line = (
        b'{"model":"tiny","message":{"role":"assistant","content":"","tool_calls":[{"function":'
        b'{"name":"f","arguments":{"model":"tiny","done":true,"error":"x"}}}]},"done":false}\n'
    )
    told = drive(native(), [line, line, line[:-14] + b'"done":true}\n'])
    assert told.error is None
    for each in lines(told.sent + told.tail):
        assert each["model"] == "mine"
        (call,) = each["message"]["tool_calls"]
        assert call["function"]["arguments"] == {"model": "tiny", "done": True, "error": "x"}


def test_a_model_that_dies_breaks_the_stream() -> None:
    """Ollama says so in a last line, and what came before it stays."""
    real = recorded(OLLAMA, "chat-stream-model-dies")
    told = drive(native(), real.pieces)
    assert told.error is not None
    assert len(lines(told.sent)) == len(real.pieces) - 1
    assert told.tail == b""


def test_a_stream_without_its_last_line_is_broken() -> None:
    """However cleanly the engine's message ended. A last line without its line end is whole."""
    real = recorded(OLLAMA, "chat-stream")
    assert drive(native(), real.pieces[:-1]).error == (
        "stream_interrupted", "The engine's stream ended before it was complete.",
    )  # fmt: skip
    told = drive(native(), [real.body.rstrip(b"\n")])
    assert told.error is None
    assert json.loads(told.tail)["done"] is True


def test_a_line_of_more_than_a_megabyte_breaks_the_stream() -> None:
    """It is not held."""
    told = drive(native(), [b'{"model":"tiny","message":{"content":"', b"x" * (1 << 20)])
    assert told.error == ("event_too_large", "The engine sent an event of more than 1 MB.")


def test_empty_lines_are_left_out() -> None:
    """Zed fails at one; what comes after the end is nobody's."""
    first, *rest = recorded(OLLAMA, "chat-stream").pieces
    told = drive(native(), [first, b"\n", b"\r\n" + rest[0] + b"\n\n", *rest[1:], b"{"])
    assert told.error is None
    assert len(lines(told.sent + told.tail)) == len(rest) + 1


def test_other_spellings_are_read_too() -> None:
    """Emulators write blanks, and other fields first."""
    told = drive(
        native(),
        [
            b'{"created_at": "t", "model": "tiny", "message": {"content": "x"}, "done": false}\n',
            b'{ "done": true, "model": "tiny", "eval_count": 3 }\n',
        ],
    )
    assert [each["model"] for each in lines(told.sent + told.tail)] == ["mine", "mine"]
    assert told.usage == Usage(0, 3)


@pytest.mark.parametrize("name", ["chat", "chat-think", "chat-tools"])
def test_a_whole_answer_gets_the_clients_name(name: str) -> None:
    """And nothing else."""
    body = recorded(OLLAMA, name).body
    way = chat(stream=False).native(OLLAMA_TARGET)
    assert way is not None
    answer = way.answer(OLLAMA_TARGET, body)
    theirs = json.loads(body)
    assert json.loads(answer.body) == {**theirs, "model": "mine"}
    assert answer.usage == Usage(theirs["prompt_eval_count"], theirs["eval_count"])


def test_a_whole_answer_of_generate_keeps_its_context() -> None:
    """Ollama's own engine can read it again."""
    body = recorded(OLLAMA, "generate").body
    way = generate(stream=False).native(OLLAMA_TARGET)
    assert way is not None
    ours = json.loads(way.answer(OLLAMA_TARGET, body).body)
    assert ours["context"] == json.loads(body)["context"]
    stream = recorded(OLLAMA, "generate-stream")
    told = drive(way.stream(OLLAMA_TARGET), stream.pieces)
    assert without_times(lines(told.sent)[0])["response"] == "\u0003"
    assert told.started


@pytest.mark.parametrize("body", [b"", b"[]", b'{"done":false}', b'{"error":"died"}', b"{"])
def test_what_is_no_whole_answer_is_an_error(body: bytes) -> None:
    """It never looks whole."""
    way = chat(stream=False).native(OLLAMA_TARGET)
    assert way is not None
    with pytest.raises(EngineError):
        way.answer(OLLAMA_TARGET, body)


TEXTS = ["こんにちは、", "😀👨‍👩‍👧", '"done":true', '"error"', "\\", "\u2028", '{"model":"tiny",']
texts = st.lists(st.sampled_from(TEXTS) | st.text(max_size=6), max_size=6)
ENDS = [
    b'{"model":"tiny","message":{"content":""},"done":true,"eval_count":2}\n',
    b"",
    b'{"error":"died"}\n',
    b'{"message":',
]


@given(texts, st.lists(st.integers(0, 10_000), max_size=12), st.sampled_from(ENDS))
def test_any_cut_of_lines_gives_the_same(said: list[str], cuts: list[int], end: bytes) -> None:
    """Text, usage, end and error."""
    each = [
        json.dumps(
            {"model": "tiny", "message": {"content": text}, "done": False},
            ensure_ascii=False,
            separators=(",", ":"),
        )
        for text in said
    ]
    whole = "".join(line + "\n" for line in each).encode("utf-8", "replace") + end
    uncut: Result = drive(native(), [whole])
    at = sorted({0, len(whole), *(cut % (len(whole) + 1) for cut in cuts)})
    assert drive(native(), [whole[start:stop] for start, stop in pairwise(at)]) == uncut
    told = [json.loads(line) for line in uncut.sent.splitlines() if line]
    assert "".join(line["message"]["content"] for line in told) == "".join(
        json.loads(line)["message"]["content"] for line in each
    )


@given(st.lists(st.binary(max_size=60), max_size=5))
def test_any_bytes_are_a_stream_or_an_error(garbage: list[bytes]) -> None:
    """Nothing but an engine's error is ever raised."""
    stream = native()
    try:
        for piece in garbage:
            stream.feed(piece)
            stream.feed(b'{"message":{"content":"x"}}\n\n')
        stream.end()
    except EngineError as error:
        assert error.status >= 400
