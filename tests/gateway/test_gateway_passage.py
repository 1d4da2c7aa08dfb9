"""Chunks that pass as they came: told from all others, at every cut of an engine's bytes."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flm.dialects.codec import Shape
from flm.gateway.endpoints.passage import LONGEST, MANY, Passage
from flm.gateway.upstream.answer import Answer
from flm.gateway.upstream.connection import EngineConnection
from flm.wire.snapshot import Rules
from support.gateway import RunningGateway, gateway, target_at
from support.raw_client import RawClient, ask, chat, request
from support.scripted_engine import (
    DONE,
    LAST_CHUNK,
    STREAM_HEAD,
    EngineSide,
    Script,
    ScriptedEngine,
    as_chunk,
    event,
)

SHAPE = Shape(b'data: {"c":"', b'"}\n\n', b'data: {"c":"', b'"}\n\n')
RENAMED = Shape(b'data: {"m":"a","c":"', b'"}\n\n', b'data: {"m":"mine","c":"', b'"}\n\n')


class Client:
    """What a client gets: pieces that were framed already, and pieces that FLM frames."""

    def __init__(self, shape: Shape = SHAPE) -> None:
        self.written: list[bytes] = []
        self.sent: list[bytes] = []
        self.passage = Passage(self.written.append, self.sent.append)
        self.passage.learn(shape)


def said(text: bytes) -> bytes:
    """An event of `SHAPE`."""
    return SHAPE.before + text + SHAPE.after


@pytest.mark.parametrize("size", [18, 26, 255, 256, 257, 999])
def test_a_chunk_of_the_shape_passes_as_it_is(size: int) -> None:
    """Whatever its length: the size line has as many digits as it needs."""
    client = Client()
    chunk = as_chunk(said(b"x" * (size - len(said(b"")))))
    assert client.passage.take(chunk)
    assert client.written[0] is chunk
    assert (client.sent, client.passage.count) == ([], 1)


@pytest.mark.parametrize("text", [b"", "世界".encode(), rb"a \"word\"", rb"\n", b"[DONE]", b"\\"])
def test_any_text_passes(text: bytes) -> None:
    """As JSON writes it: quotes and line feeds with a backslash."""
    client = Client()
    assert client.passage.take(as_chunk(said(text)))
    assert client.written == [as_chunk(said(text))]


CHUNK = as_chunk(said(b"four"))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        CHUNK[:-1],
        CHUNK[1:],
        CHUNK + b"\n",
        CHUNK + CHUNK,
        CHUNK + b"1",
        CHUNK + LAST_CHUNK,
        LAST_CHUNK,
        b"0" + CHUNK,
        CHUNK.replace(b"\r\n", b"\n"),
        CHUNK.replace(b"\r\ndata", b";x=1\r\ndata"),
        as_chunk(said(b"x" * 26)).upper(),
        as_chunk(said(b"x" * 26)).replace(b"2a\r", b"2A\r"),
        as_chunk(said(b"four") + b": ping\n\n"),
        as_chunk(b": ping\n\n" + said(b"four")),
        as_chunk(said(b'x","d":"y')),
        as_chunk(said(b'"')),
        as_chunk(said(b"x\n\ndata: [DONE]\n\n")),
        as_chunk(SHAPE.before + SHAPE.after[1:]),
        as_chunk(SHAPE.before),
        as_chunk(DONE),
        as_chunk(said(b"x" * LONGEST)),
    ],
)
def test_everything_else_is_looked_at(data: bytes) -> None:
    """Another frame, more or fewer bytes, another shape, a text that is more than one."""
    client = Client()
    assert not client.passage.take(data)
    assert (client.written, client.sent, client.passage.count) == ([], [], 0)


def test_nothing_passes_before_there_is_a_shape() -> None:
    """The shortest chunks neither."""
    written: list[bytes] = []
    passage = Passage(written.append, written.append)
    assert [passage.take(as_chunk(text)) for text in (b"x", b"\n\n", said(b"x"))] == [False] * 3
    assert written == []


def test_a_renamed_chunk_gets_a_frame_of_its_own() -> None:
    """It is longer or shorter than the engine's."""
    client = Client(RENAMED)
    assert client.passage.take(as_chunk(b'data: {"m":"a","c":"hi"}\n\n'))
    assert client.sent == [b'data: {"m":"mine","c":"hi"}\n\n']
    assert client.written == []


def test_learning_in_vain_ends() -> None:
    """A stream whose events never come again is not compared for ever."""
    client = Client()
    shapes = [Shape(b"%d" % turn, b"", b"%d" % turn, b"") for turn in range(MANY)]
    assert [client.passage.learn(shape) for shape in shapes] == [True] * (MANY - 2) + [False] * 2
    client.passage.count += 1
    assert client.passage.learn(SHAPE)


# With the parser in front of it.

MESSAGE_EVENTS = [
    said(b"one"), said(b"two"), said(b""), b": ping\r\n\r\n", said(b"\r\n5\r\n"), said(b"x" * 240),
    said(b"y"), b"\n", said(rb"\""), b"5\r\n", said(b"0"), said(b"z"),
]  # fmt: skip
MESSAGE = b"".join(as_chunk(each) for each in MESSAGE_EVENTS) + LAST_CHUNK
BODY = b"".join(MESSAGE_EVENTS)


class Wire:
    """An engine's transport that does nothing."""

    def write(self, data: bytes) -> None:
        """Ignored."""

    def abort(self) -> None:
        """Ignored."""


class Read:
    """An engine's connection that has read a head, with a passage from the first chunk on."""

    def __init__(self, head: bytes = STREAM_HEAD) -> None:
        self.pieces: list[bytes] = []
        self.passed = 0
        self.answer = Answer(self.pieces.append)
        passage = Passage(self._unframed, self.pieces.append)
        passage.learn(SHAPE)
        self.answer.express = passage.take
        self.engine = EngineConnection()
        self.engine.connection_made(cast("asyncio.BaseTransport", Wire()))
        self.engine.start(b"", self.answer)
        self.engine.data_received(head)

    def _unframed(self, chunk: bytes) -> None:
        self.passed += 1
        self.pieces.append(chunk.partition(b"\r\n")[2][:-2])

    def feed(self, data: bytes, cuts: list[int]) -> Read:
        """Receive `data` in pieces."""
        places = [0, *sorted({cut % len(data) for cut in cuts} - {0}), len(data)]
        for start, end in pairwise(places):
            self.engine.data_received(data[start:end])
        return self

    @property
    def outcome(self) -> tuple[bytes, bool, bool]:
        """The body, whether it is over, and whether the connection can be used again."""
        return b"".join(self.pieces), self.answer.over, self.engine.reusable


def test_every_two_cuts_give_the_same_body() -> None:
    """In front of, inside and behind each size line, line end and chunk."""
    short = b"".join(as_chunk(each) for each in MESSAGE_EVENTS[:4]) + LAST_CHUNK
    whole = b"".join(MESSAGE_EVENTS[:4])
    for first in range(1, len(short)):
        for second in range(first, len(short)):
            assert Read().feed(short, [first, second]).outcome == (whole, True, True)


BORDERS = [len(b"".join(map(as_chunk, MESSAGE_EVENTS[:count]))) for count in range(1, 13)]


@given(
    st.lists(st.sampled_from(BORDERS), max_size=12),
    st.lists(st.integers(1, len(MESSAGE)), max_size=4),
)
def test_any_cuts_give_the_same_body(borders: list[int], cuts: list[int]) -> None:
    """Chunks that come apart, as engines send them, and cuts between."""
    assert Read().feed(MESSAGE, borders + cuts).outcome == (BODY, True, True)


def test_chunks_that_come_apart_pass() -> None:
    """All seven of the shape but the first, which came behind a head."""
    assert Read().feed(MESSAGE, BORDERS).passed == 7
    assert Read().feed(MESSAGE, BORDERS[1:]).passed == 6


def test_a_body_without_chunks_never_passes() -> None:
    """What looks like a chunk is text there."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (2 * len(CHUNK))
    read = Read(head).feed(CHUNK + CHUNK, [len(CHUNK)])
    assert (read.outcome, read.passed) == ((CHUNK + CHUNK, True, True), 0)


def test_a_chunk_behind_the_end_is_nobody_s() -> None:
    """The connection is closed, and nothing reaches the client of before."""
    read = Read().feed(MESSAGE, BORDERS)
    read.engine.data_received(CHUNK)
    assert (read.outcome, read.engine.open) == ((BODY, True, False), False)


def test_a_chunk_that_is_cut_off_is_broken() -> None:
    """Bytes that are no chunk fail the answer after chunks that passed too."""
    read = Read().feed(CHUNK + CHUNK + CHUNK, [len(CHUNK), 2 * len(CHUNK)])
    read.engine.data_received(b"junk\r\n")
    assert (read.passed, read.answer.over, read.engine.open) == (2, True, False)


# In a gateway.

TEXTS = ("one", "two", "世界", 'say "hi"', "[DONE]", "data: [DONE]\n\n", "error", "usage", "", "x")


def apart(served: RunningGateway, *pieces: bytes) -> Script:
    """A script: these pieces, each sent when the gateway has looked at the one before."""

    def run(side: EngineSide) -> None:
        with RawClient(served.port) as probe:
            while side.request() is not None:
                for piece in pieces:
                    side.send(piece)
                    assert probe.ask(request("GET", "/health")).status == 200

    return run


def chunks_of(*events: bytes) -> list[bytes]:
    """Head, a chunk for each event, end."""
    return [STREAM_HEAD, *map(as_chunk, events), LAST_CHUNK]


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("model", ["m", "another-name"])
def test_a_stream_of_chunks_arrives_as_it_was_sent(
    served: RunningGateway, engine: ScriptedEngine, version: str, model: str
) -> None:
    """With the client's name for the model, chunked and ended by the connection."""
    pieces = chunks_of(*(event(text, model) for text in TEXTS), DONE)
    engine.script = apart(served, *pieces)
    response = ask(served.port, chat(stream=True, version=version))
    assert response.body == b"".join(map(event, TEXTS)) + DONE


@pytest.mark.parametrize("cut", range(1, 12))
def test_an_event_over_two_chunks_is_not_overtaken(
    served: RunningGateway, engine: ScriptedEngine, cut: int
) -> None:
    """A chunk that looks like an event is not one while half of another is waiting."""
    whole = event("one")
    pieces = chunks_of(whole, whole, whole[:-cut], whole, whole[-cut:], whole, DONE)
    engine.script = apart(served, *pieces)
    sent = whole + whole + whole[:-cut] + whole + whole[-cut:] + whole + DONE
    assert ask(served.port, chat(stream=True)).body == sent


def test_an_error_behind_chunks_that_passed_keeps_its_meaning(
    served: RunningGateway, engine: ScriptedEngine
) -> None:
    """It is seen, and what comes behind it is not sent on."""
    error = b'data: {"error":{"message":"out of memory","code":500}}\n\n'
    engine.script = apart(served, *chunks_of(*map(event, "abc"), error, event("d"), DONE))
    body = ask(served.port, chat(stream=True)).body
    assert body.startswith(b"".join(map(event, "abc")) + b'data: {"error":')
    assert body.count(b"data: ") == 4
    assert served.records()[-1].error == "engine_error"


def test_usage_behind_chunks_that_passed_is_recorded(
    served: RunningGateway, engine: ScriptedEngine
) -> None:
    """And taken out, because the client did not ask for it."""
    usage = b'data: {"model":"m","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}'
    engine.script = apart(served, *chunks_of(*map(event, "abc"), usage + b"\n\n", DONE))
    assert ask(served.port, chat(stream=True)).body == b"".join(map(event, "abc")) + DONE
    record = served.records()[-1]
    assert (record.tokens_in, record.tokens_out, record.error) == (3, 4, "")


def test_chunks_that_pass_keep_a_stream_alive(tmp_path: Path) -> None:
    """The idle limit counts from the last of them; without any more it ends the stream."""
    rules = Rules(revision=1, idle_seconds=0.3)

    def script(side: EngineSide) -> None:
        side.request()
        side.send(STREAM_HEAD)
        end = time.monotonic() + 1.5  # three sweeps
        with RawClient(running.port) as probe:
            while time.monotonic() < end:
                side.send(as_chunk(event("x")))
                assert probe.ask(request("GET", "/health")).status == 200
        side.send(as_chunk(event("last")))
        side.is_left()

    with (
        ScriptedEngine(script) as engine,
        gateway(tmp_path, target_at(engine.port), rules=rules) as running,
    ):
        body = ask(running.port, chat(stream=True)).body
        assert event("last") in body
        assert b'"engine_timeout"' in body
        assert running.records()[-1].error == "engine_timeout"
