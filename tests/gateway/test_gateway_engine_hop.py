"""The hop to the engine: odd answers, reused connections, deadlines, bounds."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path

import pytest

from flm.wire.snapshot import Rules
from support.gateway import RunningGateway, gateway, target_at
from support.raw_client import CHAT, RawClient, ask, chat, eventually, request
from support.scripted_engine import (
    LAST_CHUNK,
    EngineSide,
    Script,
    ScriptedEngine,
    answer_body,
    answering,
    as_chunk,
    sized,
    stream_of,
)

GOOD = sized(answer_body())
BODY = answer_body()
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
EARLY_HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def closing(data: bytes) -> Script:
    """A script: this answer, then the end of the connection."""

    def run(side: EngineSide) -> None:
        side.request()
        side.send(data)

    return run


WHOLE = {
    "with a length": (GOOD, 1),
    "with a length behind 5000 zeros": (
        GOOD.replace(b"Content-Length: ", b"Content-Length: " + b"0" * 5000),
        1,
    ),
    "in chunks": (
        CHUNKED
        + as_chunk(BODY[:50])
        + as_chunk(BODY[50:])
        + b"0\r\nTrailer: x\r\n\r\n",
        1,
    ),
    "after a 100": (CONTINUE + GOOD, 1),
    "after eight interim answers": (EARLY_HINTS * 8 + GOOD, 1),
    "without a reason phrase": (GOOD.replace(b"200 OK", b"200 "), 1),
    "saying close": (GOOD.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1), 2),
    "in HTTP/1.0": (GOOD.replace(b"HTTP/1.1", b"HTTP/1.0"), 2),
    "with bytes behind it": (GOOD + b"junk", 2),
    "with a second answer behind it": (GOOD + GOOD, 2),
    "with half an answer behind it": (GOOD + GOOD[:12], 2),
    "in chunks with bytes behind them": (
        CHUNKED + as_chunk(BODY) + LAST_CHUNK
        + b"HTTP/1.1 200 OK\r\n", 2),
}  # fmt: skip


@pytest.mark.parametrize(("data", "connections"), WHOLE.values(), ids=WHOLE)
def test_a_whole_answer_is_taken(tmp_path: Path, data: bytes, connections: int) -> None:
    """However it is framed; the connection is used again only if it ended cleanly."""
    with (
        ScriptedEngine(answering(data)) as engine,
        gateway(tmp_path, target_at(engine.port)) as running,
    ):
        for _ in range(2):
            response = ask(running.port, chat())
            assert (response.status, response.body) == (200, BODY)
        assert engine.connections == connections
        record = running.records()[-1]
        assert (record.tokens_in, record.tokens_out) == (3, 5)


def test_a_body_that_ends_with_the_connection_is_taken(
    served: RunningGateway, engine: ScriptedEngine
) -> None:
    """Neither length nor chunks: a JSON object shows itself whether it is whole."""
    engine.script = closing(b"HTTP/1.1 200 OK\r\n\r\n" + BODY)
    assert ask(served.port, chat()).body == BODY
    engine.script = closing(b"HTTP/1.1 200 OK\r\n\r\n" + BODY[:-10])
    response = ask(served.port, chat())
    assert (response.status, response.code) == (502, "bad_engine_answer")


BROKEN = {
    "nothing at all": b"",
    "half a status line": b"HTTP/1.1 20",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "only a head": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n",
    "short of its length": GOOD[:-1],
    "short of its chunks": CHUNKED + as_chunk(BODY),
    "short within a chunk": CHUNKED
    + as_chunk(BODY)[:-9],
    "only interim answers": CONTINUE,
    "nine interim answers": EARLY_HINTS * 9 + GOOD,
    "interim answers without end": EARLY_HINTS * 5000,
    "a switch of protocols": b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
    b"Upgrade: websocket\r\n\r\n" + GOOD,
    "no HTTP": b"SSH-2.0-OpenSSH_9.6\r\n",
    "HTTP/2": b"\x00\x00\x12\x04\x00\x00\x00\x00\x00",
    "length and chunks": GOOD.replace(b"Content-Length", b"Transfer-Encoding: chunked\r\nX", 1)
    .replace(b"X: ", b"Content-Length: ", 1),
    "two lengths": GOOD.replace(b"\r\n\r\n", b"\r\nContent-Length: 3\r\n\r\n", 1),
    "two lengths, one without a blank": GOOD.replace(b"OK\r\n", b"OK\r\nContent-Length:3\r\n", 1),
    "a folded field": GOOD.replace(b"\r\n\r\n", b"\r\n folded\r\n\r\n", 1),
    "a length in hex": b"HTTP/1.1 200 OK\r\nContent-Length: 0x3\r\n\r\nabc",
    "a bare LF": GOOD.replace(b"OK\r\n", b"OK\n", 1),
    "a head without end": b"HTTP/1.1 200 OK\r\nX: " + b"a" * (1 << 20),
}  # fmt: skip


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_broken_answer_is_a_502(
    served: RunningGateway, engine: ScriptedEngine, data: bytes, stream: bool
) -> None:
    """It never looks whole, and it is not tried again."""
    engine.script = closing(data)
    response = ask(served.port, chat(stream=stream))
    assert (response.status, response.code) == (502, "engine_gone")
    assert response.json()["error"]["type"] == "upstream_error"
    assert len(engine.seen) == 1
    record = served.records()[-1]
    assert (record.status, record.error, record.engine) == (502, "engine_gone", "e")


def test_a_reset_in_the_middle_is_a_502(served: RunningGateway, engine: ScriptedEngine) -> None:
    """RST as well as FIN."""

    def script(side: EngineSide) -> None:
        side.request()
        side.send(GOOD[:-5])
        side.rst()

    engine.script = script
    assert ask(served.port, chat()).code == "engine_gone"


def test_a_reused_connection_that_dies_is_tried_once_more(tmp_path: Path) -> None:
    """On a fresh one, and only when not a byte of the answer came."""

    def script(side: EngineSide) -> None:
        side.request()
        side.send(GOOD)
        if side.number == 1:
            side.request()
            side.rst()
        while side.request() is not None:
            side.send(GOOD)

    with (
        ScriptedEngine(script) as engine,
        gateway(tmp_path, target_at(engine.port)) as running,
    ):
        assert ask(running.port, chat(text="first")).status == 200
        assert ask(running.port, chat(text="second")).status == 200
        assert [b"second" in seen.body for seen in engine.seen] == [False, True, True]
        assert engine.connections == 2


def test_it_is_tried_only_once_more(tmp_path: Path) -> None:
    """A fresh connection that dies is not replaced."""

    def script(side: EngineSide) -> None:
        side.request()
        if side.number == 1:
            side.send(GOOD)
            side.request()
        side.rst()

    with (
        ScriptedEngine(script) as engine,
        gateway(tmp_path, target_at(engine.port)) as running,
    ):
        assert ask(running.port, chat()).status == 200
        response = ask(running.port, chat())
        assert (response.status, response.code) == (502, "engine_gone")
        assert len(engine.seen) == 3


def test_a_reused_connection_that_answered_a_byte_is_not_tried_again(tmp_path: Path) -> None:
    """The engine may have worked for it."""

    def script(side: EngineSide) -> None:
        side.request()
        side.send(GOOD)
        side.request()
        side.send(b"H")

    with (
        ScriptedEngine(script) as engine,
        gateway(tmp_path, target_at(engine.port)) as running,
    ):
        assert ask(running.port, chat()).status == 200
        assert ask(running.port, chat()).code == "engine_gone"
        assert len(engine.seen) == 2


def test_bytes_on_an_idle_connection_end_it(tmp_path: Path) -> None:
    """Nobody asked for them: they are not the answer to the next request."""
    sent = threading.Event()

    def script(side: EngineSide) -> None:
        while side.request() is not None:
            side.send(GOOD)
            if side.number == 1:
                side.send(sized(answer_body("smuggled")))
                sent.set()

    with (
        ScriptedEngine(script) as engine,
        gateway(tmp_path, target_at(engine.port)) as running,
    ):
        assert ask(running.port, chat()).body == BODY
        assert sent.wait(10)
        assert ask(running.port, request("GET", "/health")).status == 200
        assert ask(running.port, chat()).body == BODY
        assert engine.connections == 2


def test_an_engine_that_refuses_connections_is_a_502(tmp_path: Path) -> None:
    """Clear, at once, worth a retry."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with gateway(tmp_path, target_at(port)) as running:
        response = ask(running.port, chat())
        assert (response.status, response.code) == (502, "engine_unreachable")
        assert int(response.headers["retry-after"]) > 0


def test_an_engine_that_accepts_no_connection_is_a_504(tmp_path: Path) -> None:
    """Its backlog is full: the connect deadline ends the wait."""
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for waiting in (first, second):
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        rules = Rules(revision=1, connect_seconds=0.2)
        with gateway(tmp_path, target_at(full.getsockname()[1]), rules=rules) as running:
            response = ask(running.port, chat())
            assert (response.status, response.code) == (504, "engine_unreachable")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\nContent-"], ids=["nothing", "half"])
def test_a_first_byte_that_does_not_come_is_a_504(
    tmp_path: Path, stream: bool, said: bytes
) -> None:
    """The engine's connection is closed with it."""
    left: list[bool] = []

    def script(side: EngineSide) -> None:
        side.request()
        side.send(said)
        left.append(side.is_left())

    with (
        ScriptedEngine(script) as engine,
        gateway(
            tmp_path, target_at(engine.port), rules=Rules(revision=1, first_byte_seconds=0.1)
        ) as running,
    ):
        response = ask(running.port, chat(stream=stream))
        assert (response.status, response.code) == (504, "engine_timeout")
        assert response.headers["x-should-retry"] == "false"
        eventually(lambda: left == [True])


def test_a_whole_answer_that_stops_coming_is_a_504(tmp_path: Path) -> None:
    """The idle limit holds inside a body too."""

    def script(side: EngineSide) -> None:
        side.request()
        side.send(GOOD[:-5])
        side.is_left()

    with (
        ScriptedEngine(script) as engine,
        gateway(
            tmp_path, target_at(engine.port), rules=Rules(revision=1, idle_seconds=0.1)
        ) as running,
    ):
        assert ask(running.port, chat()).code == "engine_timeout"


def test_an_answer_over_64_mb_is_refused(served: RunningGateway, engine: ScriptedEngine) -> None:
    """What is held of one answer is bounded; the engine is cut off."""
    cut_off = threading.Event()

    def script(side: EngineSide) -> None:
        side.request()
        side.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
        piece = b" " * (1 << 20)
        while side.send(piece):
            pass
        cut_off.set()

    engine.script = script
    response = ask(served.port, chat())
    assert (response.status, response.code) == (502, "answer_too_large")
    assert cut_off.wait(10)


def test_a_200_with_an_error_in_it_is_an_error(
    served: RunningGateway, engine: ScriptedEngine
) -> None:
    """Its meaning is looked for."""
    engine.script = answering(sized(b'{"error":{"message":"model \'x\' not found"}}'))
    response = ask(served.port, chat())
    assert (response.status, response.code) == (404, "model_not_found")


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b"{}", b'"text"', b"<html>", b'{"choices":', b"\xff\xfe"]
)
def test_a_200_that_is_no_answer_is_a_502(
    served: RunningGateway, engine: ScriptedEngine, body: bytes
) -> None:
    """Never a bare 500, never passed on."""
    engine.script = answering(sized(body))
    response = ask(served.port, chat())
    assert response.status == 502
    assert response.code in ("bad_engine_answer", "engine_error")


def test_an_engine_s_busy_keeps_its_retry_after(
    served: RunningGateway, engine: ScriptedEngine
) -> None:
    """SDKs obey it."""
    engine.script = answering(
        sized(b'{"error":"queue full"}', "429 Too Many Requests", "Retry-After: 7")
    )
    response = ask(served.port, chat())
    assert (response.status, response.headers["retry-after"]) == (429, "7")


def test_an_error_wrapped_twice_reaches_the_client_unwrapped(
    served: RunningGateway, engine: ScriptedEngine
) -> None:
    """Ollama's OpenAI layer wraps its runner's JSON, twice over."""
    inner = '{"error":{"message":"image input is not supported","code":500}}'
    wrapped = f'{{"error":{{"message":{json.dumps(inner)},"type":"api_error"}}}}'
    engine.script = answering(sized(wrapped.encode(), "500 Internal Server Error"))
    response = ask(served.port, chat())
    assert (response.status, response.code) == (400, "unsupported_modalities")
    assert "{" not in response.message


def test_an_engine_that_refuses_us_is_not_the_client_s_401(
    served: RunningGateway, engine: ScriptedEngine
) -> None:
    """The client's key was fine."""
    engine.script = answering(sized(b'{"error":"Invalid API Key"}', "401 Unauthorized"))
    response = ask(served.port, chat())
    assert (response.status, response.code) == (502, "upstream_auth_error")


def test_embeddings_go_the_same_way(served: RunningGateway, engine: ScriptedEngine) -> None:
    """Asked, answered, renamed, counted."""
    engine.script = answering(
        sized(
            b'{"object":"list","model":"x","data":[{"object":"embedding","index":0,"embedding":'
            b'[0.5,-1]}],"usage":{"prompt_tokens":2,"total_tokens":2}}'
        )
    )
    body = b'{"model":"m","input":"hi"}'
    response = ask(served.port, request("POST", "/v1/embeddings", body=body))
    assert response.status == 200
    assert response.json()["data"][0]["embedding"] == [0.5, -1]
    assert response.json()["model"] == "m"
    assert engine.seen[0].path == "/v1/embeddings"
    assert served.records()[-1].tokens_in == 2


def test_a_connection_serves_many_requests(tmp_path: Path) -> None:
    """Whole and streamed, one after the other, on one connection to the engine."""

    def script(side: EngineSide) -> None:
        while (asked := side.request()) is not None:
            side.send(stream_of("a") if b'"stream":true' in asked.body else GOOD)

    with (
        ScriptedEngine(script) as engine,
        gateway(tmp_path, target_at(engine.port)) as running,
        RawClient(running.port) as client,
    ):
        for stream in (False, True) * 5:
            assert client.ask(chat(stream=stream)).status == 200
        assert engine.connections == 1
        assert [seen.method for seen in engine.seen] == ["POST"] * 10
        assert client.ask(request("HEAD", CHAT), bodiless=True).status == 405
        assert len(engine.seen) == 10
