"""Streams: whole, cut anywhere, broken in the middle, slow at either end, many at once."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import psutil
import pytest

from flm.domain.records import JournalRecord
from flm.wire.snapshot import Rules
from support.gateway import RunningGateway, gateway, target_at
from support.raw_client import RawClient, ask, chat, eventually, request
from support.scripted_engine import (
    DONE,
    LAST_CHUNK,
    STREAM_HEAD,
    EngineSide,
    Script,
    ScriptedEngine,
    answer_body,
    answering,
    as_chunk,
    event,
    sized,
    stream_of,
)

TEXTS = (
    "こんにちは、世界",
    "😀👨‍👩‍👧",
    "he wrote [DONE] there",
    "data: [DONE]\n\nends",
    "ﾊﾝ\r\n\r\n",
    '"usage"',
)
EVENTS = b"".join(event(text) for text in TEXTS)

UNFRAMED = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"


def script_of(*pieces: bytes) -> Script:
    """A script: answer one request with these pieces, then close."""

    def run(side: EngineSide) -> None:
        side.request()
        for piece in pieces:
            side.send(piece)

    return run


def last_record(served: RunningGateway) -> JournalRecord:
    """The record that was written last."""
    return served.records()[-1]


def error_of(body: bytes) -> dict[str, object]:
    """The error event at the end of a stream."""
    event_bytes = body.split(b"\n\n")[-2]
    return dict(json.loads(event_bytes.removeprefix(b"data: "))["error"])


def test_a_stream_arrives_as_it_was_sent(served: RunningGateway, engine: ScriptedEngine) -> None:
    """Content type, framing, words and end mark; usage is taken out unless it was asked for."""
    engine.script = answering(stream_of(*TEXTS))
    response = ask(served.port, chat(stream=True))
    assert response.status == 200
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.headers["transfer-encoding"] == "chunked"
    assert response.headers["x-accel-buffering"] == "no"
    assert response.body == EVENTS + DONE
    record = last_record(served)
    assert (record.status, record.error, record.streamed) == (200, "", True)
    assert record.first_token_ms is not None


def test_every_cut_of_an_engine_s_bytes_gives_the_same_text(
    served: RunningGateway, engine: ScriptedEngine
) -> None:
    """At each position of head, framing and events, in two pieces that arrive apart."""
    whole = stream_of(*TEXTS)
    cuts = iter(range(1, len(whole)))

    def script(side: EngineSide) -> None:
        with RawClient(served.port) as probe:
            while side.request() is not None:
                cut = next(cuts)
                side.send(whole[:cut])
                # Answered after the gateway has looked at its sockets again.
                assert probe.ask(request("GET", "/health")).status == 200
                side.send(whole[cut:])

    engine.script = script
    with RawClient(served.port) as client:
        bodies = {client.ask(chat(stream=True)).body for _ in range(1, len(whole))}
    assert bodies == {EVENTS + DONE}
    assert next(cuts, None) is None


def test_one_byte_at_a_time_gives_the_same_text(
    served: RunningGateway, engine: ScriptedEngine
) -> None:
    """Every cut at once."""
    whole = stream_of(*TEXTS)
    engine.script = script_of(*(whole[place : place + 1] for place in range(len(whole))))
    assert ask(served.port, chat(stream=True)).body == EVENTS + DONE


def test_an_event_is_passed_on_the_moment_it_is_whole(
    served: RunningGateway, engine: ScriptedEngine
) -> None:
    """Nothing buffers: the client reads the first while the engine waits to send the second."""
    may_go_on = threading.Event()

    def script(side: EngineSide) -> None:
        side.request()
        side.send(STREAM_HEAD + as_chunk(event("one")) + as_chunk(event("two")[:30]))
        assert may_go_on.wait(10)
        side.send(as_chunk(event("two")[30:]) + as_chunk(DONE) + LAST_CHUNK)

    engine.script = script
    with RawClient(served.port) as client:
        client.send(chat(stream=True))
        client.head()
        assert client.chunk() == event("one")
        may_go_on.set()
        assert client.chunk() == event("two")
        assert client.chunk() + client.chunk() == DONE
        assert client.chunk() == b""


@pytest.mark.parametrize("head", [STREAM_HEAD, UNFRAMED], ids=["chunked", "unframed"])
@pytest.mark.parametrize("then", ["fin", "rst"])
@pytest.mark.parametrize(
    "half", [b"", event("two")[:25], b"data: [DONE]"[:9]], ids=["whole", "half", "half mark"]
)
def test_an_engine_that_dies_in_the_middle_is_told_as_an_error(
    served: RunningGateway, engine: ScriptedEngine, head: bytes, then: str, half: bytes
) -> None:
    """The half event is dropped, an error event comes, then the proper end; failed in the log."""
    framed = as_chunk if head is STREAM_HEAD else bytes
    sent = threading.Event()

    def script(side: EngineSide) -> None:
        side.request()
        side.send(head + framed(event("one") + half))
        assert sent.wait(10)
        getattr(side, then)()

    engine.script = script
    with RawClient(served.port) as client:
        client.send(chat(stream=True))
        assert client.head()[0] == 200
        assert client.chunk() == event("one")
        sent.set()
        rest = b"".join(iter(client.chunk, b""))
        assert error_of(rest)["code"] == "stream_interrupted"
        assert error_of(rest)["type"] == "upstream_error"
        assert b"[DONE]" not in rest
        assert b"two" not in rest
        assert client.ask(chat().replace(b"chat/completions", b"nope")).status == 404
    record = served.records()[-2]
    assert (record.status, record.error) == (200, "stream_interrupted")


def test_a_stream_that_ends_without_its_mark_is_broken(
    served: RunningGateway, engine: ScriptedEngine
) -> None:
    """Ollama's OpenAI layer does that when its model dies: the framing is proper."""
    engine.script = answering(STREAM_HEAD + as_chunk(event("one")) + LAST_CHUNK)
    body = ask(served.port, chat(stream=True)).body
    assert body.startswith(event("one"))
    assert error_of(body)["code"] == "stream_interrupted"
    assert last_record(served).error == "stream_interrupted"


def test_a_stream_that_dies_before_its_first_event_is_a_502(
    served: RunningGateway, engine: ScriptedEngine
) -> None:
    """Nothing was sent yet, so the status can still tell."""
    engine.script = script_of(STREAM_HEAD, as_chunk(event("one")[:20]))
    response = ask(served.port, chat(stream=True))
    assert (response.status, response.code) == (502, "stream_interrupted")
    assert last_record(served).status == 502


def test_an_end_mark_without_the_end_of_the_message_is_whole(
    served: RunningGateway, engine: ScriptedEngine
) -> None:
    """The engine is waited for a quarter of a second, then the client has everything."""
    left: list[bool] = []

    def script(side: EngineSide) -> None:
        side.request()
        side.send(STREAM_HEAD + as_chunk(event("one")) + as_chunk(DONE))
        left.append(side.is_left())

    engine.script = script
    assert ask(served.port, chat(stream=True)).body == event("one") + DONE
    assert last_record(served).error == ""
    eventually(lambda: left == [True])


def test_an_end_mark_in_a_body_that_ends_with_the_connection_is_whole(
    served: RunningGateway, engine: ScriptedEngine
) -> None:
    """Without length and chunks the mark is all there is."""
    engine.script = script_of(UNFRAMED + event("one") + DONE)
    assert ask(served.port, chat(stream=True)).body == event("one") + DONE


def test_an_engine_s_error_event_keeps_its_meaning(
    served: RunningGateway, engine: ScriptedEngine
) -> None:
    """What came before it arrives; a mark behind it does not make it whole."""
    error = b'data: {"error":{"message":"the slot is gone","code":500}}\n\n'
    engine.script = answering(STREAM_HEAD + as_chunk(event("one") + error + DONE) + LAST_CHUNK)
    body = ask(served.port, chat(stream=True)).body
    assert body.startswith(event("one"))
    assert "the slot is gone" in str(error_of(body)["message"])
    assert b"[DONE]" not in body
    assert last_record(served).error == "engine_error"


def test_an_error_as_the_first_event_keeps_its_status(
    served: RunningGateway, engine: ScriptedEngine
) -> None:
    """The head is sent with the first event: an early error is no 200."""
    error = b'data: {"error":{"message":"too many requests","code":429}}\n\n'
    engine.script = answering(STREAM_HEAD + as_chunk(error) + LAST_CHUNK)
    response = ask(served.port, chat(stream=True))
    assert response.status == 429
    assert "retry-after" in response.headers


@pytest.mark.parametrize(
    ("status", "code", "answer"),
    [
        (400, "context_length_exceeded", sized(
            b'{"error":{"code":400,"type":"exceed_context_size_error","message":"the request '
            b'exceeds the available context size","n_prompt_tokens":90,"n_ctx":64}}',
            "400 Bad Request")),
        (503, "engine_loading", sized(
            b'{"error":{"message":"Loading model","code":503}}', "503 Service Unavailable")),
        (503, "engine_busy", sized(b"data: busy", "503 Service Unavailable").replace(
            b"application/json", b"text/event-stream")),
        (502, "engine_error", sized(answer_body())),
        (502, "engine_error", sized(b"<html>", "500 Internal Server Error")),
        (502, "engine_redirects", sized(b"", "302 Found", "Location: http://127.0.0.1:1/")),
        (502, "engine_error", b"HTTP/1.1 204 No Content\r\n\r\n"),
    ],
)  # fmt: skip
def test_an_answer_that_is_no_stream_to_a_stream_request(
    served: RunningGateway, engine: ScriptedEngine, status: int, code: str, answer: bytes
) -> None:
    """Is an error with the engine's meaning, in JSON."""
    engine.script = answering(answer)
    response = ask(served.port, chat(stream=True))
    assert (response.status, response.code) == (status, code)
    assert response.headers["content-type"] == "application/json"


def test_an_event_of_more_than_1_mb_fails_the_stream(
    served: RunningGateway, engine: ScriptedEngine
) -> None:
    """What is carried is bounded."""
    engine.script = answering(
        STREAM_HEAD + as_chunk(event("one")) + as_chunk(b"data: " + b"x" * (1 << 21)) + LAST_CHUNK
    )
    body = ask(served.port, chat(stream=True)).body
    assert error_of(body)["code"] == "event_too_large"


def test_a_large_event_just_under_1_mb_arrives(
    served: RunningGateway, engine: ScriptedEngine
) -> None:
    """The bound is what it says."""
    large = event("x" * (1 << 20))[: (1 << 20) - 4] + b"\n\n"
    engine.script = answering(STREAM_HEAD + as_chunk(large) + as_chunk(DONE) + LAST_CHUNK)
    assert ask(served.port, chat(stream=True)).body == large + DONE


def test_an_idle_stream_ends_with_an_error(tmp_path: Path) -> None:
    """There is no total limit, but one between events."""
    rules = Rules(revision=1, idle_seconds=0.3)

    def script(side: EngineSide) -> None:
        side.request()
        side.send(STREAM_HEAD + as_chunk(event("one")))
        left.append(side.is_left())

    left: list[bool] = []
    with (
        ScriptedEngine(script) as engine,
        gateway(tmp_path, target_at(engine.port), rules=rules) as running,
    ):
        body = ask(running.port, chat(stream=True)).body
        assert error_of(body)["code"] == "engine_timeout"
        assert last_record(running).error == "engine_timeout"
        eventually(lambda: left == [True])


class Flood:
    """An engine that sends 200 MB of events, and tells how far it got."""

    PIECE = as_chunk(event("x" * 60_000))

    def __init__(self) -> None:
        self.sent = 0
        self.blocked = threading.Event()
        self.ended = threading.Event()

    def __call__(self, side: EngineSide) -> None:
        side.request()
        side.send(STREAM_HEAD)
        watch = threading.Thread(target=self._watch, daemon=True)
        watch.start()
        while self.sent < 200 << 20 and side.send(self.PIECE):
            self.sent += len(self.PIECE)
        side.send(as_chunk(DONE) + LAST_CHUNK)
        self.ended.set()

    def _watch(self) -> None:
        """Set ``blocked`` when nothing went out for a while."""
        before = -1
        while not self.ended.wait(0.2):
            if self.sent == before:
                self.blocked.set()
                return
            before = self.sent


def test_a_client_that_does_not_read_slows_its_engine(tmp_path: Path) -> None:
    """Memory stays where it was; then the client reads, and everything is there."""
    flood = Flood()
    with (
        ScriptedEngine(flood) as engine,
        gateway(tmp_path, target_at(engine.port)) as running,
        RawClient(running.port) as client,
    ):
        process = psutil.Process(running.process.pid)
        before = process.memory_info().rss
        client.send(chat(stream=True))
        assert flood.blocked.wait(10)
        assert process.memory_info().rss < before + (12 << 20)
        assert flood.sent < 64 << 20
        client.head()
        assert sum(len(piece) for piece in iter(client.chunk, b"")) > 200 << 20
        assert flood.ended.wait(10)
        assert last_record(running).error == ""
        assert process.memory_info().rss < before + (12 << 20)


def test_a_stalled_client_s_engine_connection_serves_the_next(tmp_path: Path) -> None:
    """It was paused for one client and is not for the next, whenever the pause came."""
    pieces = [as_chunk(event("x" * 100_000)) * count for count in range(1, 70, 4)]
    answers = [STREAM_HEAD + piece + as_chunk(DONE) + LAST_CHUNK for piece in pieces]
    with (
        ScriptedEngine(answering(*answers)) as engine,
        gateway(tmp_path, target_at(engine.port)) as running,
    ):
        stalled = []
        for _ in answers:
            client = RawClient(running.port, receive_buffer=2048)
            client.send(chat(stream=True))
            client.read(1)
            stalled.append(client)
            assert ask(running.port, chat(stream=True)).body.endswith(DONE)
        for client in stalled:
            client.close()


def test_500_streams_at_once(tmp_path: Path) -> None:
    """Without an error and within 60 MB; every one of them is open at the same time."""
    go_on = threading.Event()

    def script(side: EngineSide) -> None:
        side.request()
        side.send(STREAM_HEAD + as_chunk(event("one")))
        assert go_on.wait(30)
        side.send(as_chunk(event("two")) + as_chunk(DONE) + LAST_CHUNK)

    with (
        ScriptedEngine(script) as engine,
        gateway(tmp_path, target_at(engine.port)) as running,
    ):
        clients = [RawClient(running.port) for _ in range(500)]
        for client in clients:
            client.send(chat(stream=True))
        for client in clients:
            client.head()
            assert client.chunk() == event("one")
        running.stats(lambda stats: stats.in_flight == 500)
        assert psutil.Process(running.process.pid).memory_full_info().pss < 60 << 20
        go_on.set()
        for client in clients:
            assert b"".join(iter(client.chunk, b"")) == event("two") + DONE
            client.close()
        assert {record.error for record in running.records()} == {""}
        assert len(running.records()) == 500
