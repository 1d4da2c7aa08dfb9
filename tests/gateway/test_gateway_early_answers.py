"""Engines that answer before they have read the request, and those that say 1xx first."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.gateway import RunningGateway, gateway, target_at
from support.raw_client import RawClient, chat
from support.scripted_engine import EngineSide, ScriptedEngine, answer_body, answering, sized

LARGE = "x" * (12 << 20)
"""More than the kernel's buffers of both sides hold."""

OK = sized(answer_body())
TOO_LARGE = sized(
    json.dumps({"error": {"message": "Request body too large", "code": 413}}).encode(),
    "413 Payload Too Large",
)


def test_interim_answers_are_no_answer(served: RunningGateway, engine: ScriptedEngine) -> None:
    """100, 102 and 103, in one piece with the answer or before it; the connection stays."""
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n"
    engine.script = answering(
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK, hints + b"HTTP/1.1 102 Processing\r\n\r\n" + OK, OK
    )
    before = engine.connections
    with RawClient(served.port) as client:
        assert [client.ask(chat()).status for _ in range(3)] == [200] * 3
    assert engine.connections == before + 1


@contextmanager
def unread(answer: bytes, end: Callable[[socket.socket], None]) -> Iterator[tuple[int, list[int]]]:
    """An engine that answers as soon as it has the head, and never reads the body.

    Its port, and how often it was connected to.
    """
    connections: list[int] = []
    listening = socket.create_server(("127.0.0.1", 0))
    kept: list[socket.socket] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            connections.append(1)
            kept.append(connection)
            connection.recv(1000)
            connection.sendall(answer)
            end(connection)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield int(listening.getsockname()[1]), connections
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join(5)
        for connection in kept:
            connection.close()


def stays_open(connection: socket.socket) -> None:
    """And reads nothing more."""


def closes(connection: socket.socket) -> None:
    """With the body unread, which the kernel says by a reset."""
    connection.close()


def says_the_end(connection: socket.socket) -> None:
    """A FIN behind the answer, and nothing is read."""
    connection.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("end", [stays_open, closes, says_the_end])
@pytest.mark.parametrize("stream", [False, True])
def test_an_early_refusal_reaches_the_client(
    tmp_path: Path, end: Callable[[socket.socket], None], stream: bool
) -> None:
    """With its meaning; the connection is not used again, for the rest of the body hangs in it."""
    with (
        unread(TOO_LARGE, end) as (port, connections),
        gateway(tmp_path, target_at(port)) as running,
        RawClient(running.port) as client,
    ):
        for _ in range(2):
            response = client.ask(chat(text=LARGE, stream=stream))
            assert (response.status, response.code) == (413, "request_too_large")
            assert response.headers["x-should-retry"] == "false"
        assert len(connections) == 2


def test_an_early_answer_in_pieces_is_no_reason_to_use_the_connection_again(
    tmp_path: Path,
) -> None:
    """Read by the parser, which sees a clean end."""
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(answer_body()), answer_body())
    head = (
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    with (
        unread(head + body, stays_open) as (port, connections),
        gateway(tmp_path, target_at(port)) as running,
        RawClient(running.port) as client,
    ):
        assert [client.ask(chat(text=LARGE)).status for _ in range(2)] == [200, 200]
        assert len(connections) == 2


def test_a_large_request_that_was_read_keeps_its_connection(
    served: RunningGateway, engine: ScriptedEngine
) -> None:
    """Only what hangs in the connection speaks against it."""

    def script(side: EngineSide) -> None:
        while side.request() is not None:
            side.send(OK)

    engine.script = script
    before = engine.connections
    with RawClient(served.port) as client:
        assert [client.ask(chat(text=LARGE)).status for _ in range(3)] == [200] * 3
    assert engine.connections == before + 1
