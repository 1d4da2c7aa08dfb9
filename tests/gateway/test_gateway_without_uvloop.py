"""The same gateway on asyncio's own event loop, which is what Windows has."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import pytest

from support.gateway import RunningGateway, gateway, target_at
from support.raw_client import RawClient, ask, chat, eventually, request
from support.scripted_engine import (
    DONE,
    LAST_CHUNK,
    STREAM_HEAD,
    EngineSide,
    ScriptedEngine,
    answer_body,
    answering,
    as_chunk,
    event,
    sized,
    stream_of,
)


@pytest.fixture(scope="module")
def engine() -> Iterator[ScriptedEngine]:
    """The engine."""
    with ScriptedEngine(answering(sized(answer_body()))) as engine:
        yield engine


@pytest.fixture(scope="module")
def running(
    engine: ScriptedEngine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningGateway]:
    """A gateway that finds no uvloop."""
    blocked = tmp_path_factory.mktemp("modules")
    (blocked / "uvloop.py").write_text("raise ImportError('no uvloop here')\n")
    with gateway(
        tmp_path_factory.mktemp("journal"),
        target_at(engine.port),
        environment={"PYTHONPATH": str(blocked)},
    ) as running:
        yield running


def test_whole_answers_and_errors(running: RunningGateway, engine: ScriptedEngine) -> None:
    """On one connection, pipelined too."""
    engine.script = answering(sized(answer_body()))
    with RawClient(running.port) as client:
        client.send(chat() + request("GET", "/nope") + chat())
        assert [client.response().status for _ in range(3)] == [200, 404, 200]
        assert client.ask(b"nonsense\r\n\r\n").status == 400
        assert client.half_close().is_closed()


def test_streams(running: RunningGateway, engine: ScriptedEngine) -> None:
    """Whole and broken."""
    engine.script = answering(stream_of("心", "b"))
    assert ask(running.port, chat(stream=True)).body == event("心") + event("b") + DONE
    engine.script = answering(STREAM_HEAD + as_chunk(event("a")) + LAST_CHUNK)
    assert b"stream_interrupted" in ask(running.port, chat(stream=True)).body


def test_large_bodies(running: RunningGateway, engine: ScriptedEngine) -> None:
    """Text and pictures, read and sent on in pieces."""
    engine.script = answering(sized(answer_body()))
    engine.seen.clear()
    url = "data:image/png;base64," + "iVBORw0KGgoA" * 500_000
    picture = [{"type": "image_url", "image_url": {"url": url}}]
    large = [chat(text="語 " * 2_000_000), chat(messages=[{"role": "user", "content": picture}])]
    with RawClient(running.port) as client:
        assert [client.ask(each).status for each in large] == [200, 200]
    for seen, sent in zip(engine.seen, large, strict=True):
        assert json.loads(seen.body) == json.loads(sent.partition(b"\r\n\r\n")[2])


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("leave", [RawClient.close, RawClient.reset])
def test_a_client_that_leaves(
    running: RunningGateway, engine: ScriptedEngine, stream: bool, leave: object
) -> None:
    """Its engine is left, and it is recorded."""
    asked, left = threading.Event(), threading.Event()

    def script(side: EngineSide) -> None:
        side.request()
        asked.set()
        assert side.is_left()
        left.set()

    engine.script = script
    before = len(running.records())
    client = RawClient(running.port).send(chat(stream=stream))
    assert asked.wait(10)
    assert callable(leave)
    leave(client)
    assert left.wait(10)
    eventually(lambda: len(running.records()) > before)
    assert running.records()[before].error == "client_closed"


def test_a_client_that_does_not_read(running: RunningGateway, engine: ScriptedEngine) -> None:
    """Slows the engine, and gets everything in the end."""
    piece = as_chunk(event("x" * 60_000))
    engine.script = answering(STREAM_HEAD + piece * 500 + as_chunk(DONE) + LAST_CHUNK)
    with RawClient(running.port) as client:
        client.send(chat(stream=True))
        assert ask(running.port, request("GET", "/health")).status == 200
        assert client.response().body.count(b"data: ") == 502
    assert ask(running.port, chat(stream=True)).body.endswith(DONE)


def test_an_error_reaches_a_client_that_still_sends(running: RunningGateway) -> None:
    """It lingers there as well."""
    with RawClient(running.port) as client:
        client.send(request("POST", "/nope", "Content-Length: 33554432"))
        sending = client.send_until_refused([b"x" * (1 << 20)] * 32)
        assert client.response().status == 404
        sending.join(10)
        assert client.is_closed()
