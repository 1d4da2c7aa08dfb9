"""A connection to an engine that is used again, and the run that is parked for its answer."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

import pytest

from flm.dialects.codec import EngineCall
from flm.dialects.engine import CODECS
from flm.errors import EngineError
from flm.gateway.desk import GatewayDesk
from flm.gateway.edge.caps import BUFFERED_ANSWERS, Caps
from flm.gateway.endpoints.asking import Asking
from flm.gateway.endpoints.table import route_table
from flm.gateway.journal import Journal
from flm.gateway.live import Live
from flm.gateway.running import Run
from flm.gateway.upstream.answer import END, Answer, EngineGone
from flm.gateway.upstream.connection import EngineConnection
from flm.ports.clock import SystemClock
from flm.ports.processes import current
from flm.wire.snapshot import Rules, Snapshot
from support.gateway import KEY, KEY_ID, keys_section, routes_section, target_at

WHOLE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 4\r\n\r\nbody"


class Wire:
    """An engine's transport that keeps what is written."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Kept."""
        self.sent.append(data)

    def abort(self) -> None:
        """Nothing to do."""


def connected(wire: Wire) -> EngineConnection:
    """A connection over `wire`."""
    engine = EngineConnection()
    engine.connection_made(cast("asyncio.BaseTransport", wire))
    return engine


class Asked:
    """A desk with one idle connection to its one engine, and a request that waits for it."""

    def __init__(self) -> None:
        routes = routes_section(target_at(9))
        snapshot = Snapshot(keys_section((KEY_ID, KEY)), routes, Rules(revision=1))
        self.desk = GatewayDesk(
            clock=SystemClock(), caps=Caps(1000), live=Live(snapshot),
            journal=Journal(Path("nowhere"), "i", current(), 1), table=route_table(), instance="i",
            send=lambda message: None, on_idle=lambda live: None,
        )  # fmt: skip
        self.wire = Wire()
        self.engine = connected(self.wire)
        self.engine.reusable = True
        self.body = b""
        self.refused = ""
        live = self.desk.live.candidates("m", "", 0.0)[0]
        assert live.pool is not None
        live.pool.release(self.engine, 0.0)
        self.exchange = self.desk.open_exchange("127.0.0.1", True, 0.0)
        self.run = self.exchange.run = Run(self._ask())
        self.run.step()

    async def _ask(self) -> None:
        with Asking(self.exchange, self.desk) as asking:
            asking.use(self.desk.live.candidates("m", "", 0.0)[0])
            try:
                await asking.ask(EngineCall("/v1/chat/completions", b"{}"), END)
                self.body = asking.result(CODECS["openai"])
            except EngineError as error:
                self.refused = error.code


def test_a_body_in_one_piece_is_the_result() -> None:
    """And the connection can be used again."""
    asked = Asked()
    (request,) = asked.wire.sent
    assert request.startswith(b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:9\r\n")
    assert request.endswith(b"x-request-id: req_i00000001\r\ncontent-length: 2\r\n\r\n{}")
    asked.engine.data_received(WHOLE)
    assert (asked.body, asked.run.over, asked.engine.reusable) == (b"body", True, True)


def test_a_body_in_pieces_is_the_same_result() -> None:
    """The parser reads it."""
    asked = Asked()
    for place in range(len(WHOLE)):
        asked.engine.data_received(WHOLE[place : place + 1])
    assert (asked.body, asked.run.over, asked.engine.reusable) == (b"body", True, True)


@pytest.mark.parametrize("pieces", [(WHOLE,), (WHOLE[:-1], WHOLE[-1:])])
@pytest.mark.parametrize(
    ("held", "body", "code"),
    [(BUFFERED_ANSWERS - 4, b"body", ""), (BUFFERED_ANSWERS - 3, b"", "answer_too_large")],
)
async def test_an_answer_beyond_what_all_of_them_may_hold_is_refused(
    held: int, body: bytes, code: str, pieces: tuple[bytes, ...]
) -> None:
    """Whole or in pieces, by one byte; what was counted of it is given back."""
    asked = Asked()
    asked.desk.caps.answers = held
    for piece in pieces:
        asked.engine.data_received(piece)
    await asyncio.sleep(0)
    assert (asked.body, asked.refused, asked.desk.caps.answers) == (body, code, held)


def test_what_was_read_of_the_last_answer_says_nothing_of_the_next() -> None:
    """A 204 has no length; an engine that closes in front of its next answer has not answered."""
    engine = connected(Wire())
    first, second = Answer(), Answer()
    engine.start(b"", first)
    engine.data_received(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert (first.over, engine.reusable) == (True, True)
    engine.start(b"", second)
    engine.connection_lost(None)
    assert isinstance(second._error, EngineGone)
    assert second._error.untouched
