"""Requests of one turn of the loop leave together, at its end."""

from __future__ import annotations

import asyncio
from typing import cast

from flm.gateway.upstream.answer import Answer, EngineGone
from flm.gateway.upstream.connection import LONG, EngineConnection
from flm.gateway.upstream.outbox import Outbox

WHOLE = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbody"


class Wire:
    """A transport that notes what is written, with those of its engine's other connections."""

    def __init__(self, sent: list[bytes]) -> None:
        self.sent = sent
        self.aborted = False

    def write(self, data: bytes) -> None:
        """Noted."""
        self.sent.append(data)

    def abort(self) -> None:
        """Noted."""
        self.aborted = True

    def get_write_buffer_size(self) -> int:
        """All of it has left."""
        return 0


class Engine:
    """Connections to one engine."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.outbox = Outbox()

    def connection(self) -> EngineConnection:
        """One more, that was used before."""
        connection = EngineConnection(self.outbox)
        connection.connection_made(cast("asyncio.BaseTransport", Wire(self.sent)))
        connection.reused = True
        return connection


async def test_requests_of_one_turn_leave_together_in_their_order() -> None:
    """Nothing is sent while others are still being read; then all of it."""
    engine = Engine()
    for request in (b"one", b"two", b"three"):
        engine.connection().start(request, Answer())
    assert engine.sent == []
    await asyncio.sleep(0)
    assert engine.sent == [b"one", b"two", b"three"]


async def test_what_was_sent_is_not_sent_again() -> None:
    """A connection's next request leaves alone, in its own turn."""
    engine = Engine()
    connection, answer = engine.connection(), Answer()
    connection.start(b"one", answer)
    await asyncio.sleep(0)
    connection.data_received(WHOLE)
    connection.start(b"two", Answer())
    await asyncio.sleep(0)
    assert (engine.sent, answer.early) == ([b"one", b"two"], [b"body"])


async def test_a_request_that_was_given_up_is_not_sent() -> None:
    """Its client left in the same turn: the engine never hears of it."""
    engine = Engine()
    connection = engine.connection()
    connection.start(b"one", Answer())
    connection.abandon()
    await asyncio.sleep(0)
    assert engine.sent == []


async def test_a_connection_that_the_engine_closes_first_sends_nothing() -> None:
    """The request did not reach it, and may be sent over another one."""
    engine, answer = Engine(), Answer()
    connection = engine.connection()
    connection.start(b"one", answer)
    connection.connection_lost(None)
    await asyncio.sleep(0)
    assert isinstance(answer._error, EngineGone)
    assert (engine.sent, answer._error.untouched, answer._error.reused) == ([], True, True)


async def test_what_an_engine_says_before_it_was_asked_is_no_answer() -> None:
    """A 408 for a connection that was idle came in the turn in which it was taken."""
    engine, answer = Engine(), Answer()
    connection = engine.connection()
    connection.start(b"one", answer)
    connection.data_received(b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n")
    await asyncio.sleep(0)
    assert isinstance(answer._error, EngineGone)
    assert (engine.sent, answer.status, answer._error.untouched) == ([], 0, True)
    assert not connection.open


async def test_a_further_piece_comes_behind_the_head_it_belongs_to() -> None:
    """A body that is sent piece by piece does not wait for the end of the turn."""
    engine = Engine()
    connection = engine.connection()
    connection.start(b"head", Answer())
    connection.send(b"piece")
    await asyncio.sleep(0)
    assert engine.sent == [b"head", b"piece"]


async def test_a_long_request_leaves_at_once() -> None:
    """It is not held a second time."""
    engine = Engine()
    engine.connection().start(bytes(LONG + 1), Answer())
    assert [len(piece) for piece in engine.sent] == [LONG + 1]
