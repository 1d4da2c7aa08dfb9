"""A body that is passed on while it arrives, with the test as clock and transport."""

from __future__ import annotations

import asyncio

import pytest
from test_gateway_deadlines import Client, OwnDesk, OwnTransport

from flm.errors import Refusal
from flm.gateway.edge.caps import BUFFERED_BODIES, Caps
from flm.gateway.edge.upload import HELD, Upload
from flm.gateway.exchange import ClientGone, Exchange
from support.raw_client import request

FORM = "Content-Type: multipart/form-data; boundary=B"


class HeldTransport(OwnTransport):
    """A transport that notes whether it is read."""

    def __init__(self) -> None:
        super().__init__()
        self.reading = True

    def pause_reading(self) -> None:
        """Note it."""
        self.reading = False

    def resume_reading(self) -> None:
        """Note it."""
        self.reading = True

    def is_closing(self) -> bool:
        """Whether it was closed."""
        return bool(self.ended)


@pytest.fixture
def desk() -> OwnDesk:
    """A desk."""
    return OwnDesk()


def sending(desk: OwnDesk, length: int) -> tuple[Client, HeldTransport, Exchange]:
    """A client that has begun to send a form of that length, and its exchange."""
    client = Client(desk)
    client.transport = transport = HeldTransport()
    client.connection.connection_made(transport)
    client.send(request("POST", "/v1/audio/transcriptions", FORM, f"Content-Length: {length}"))
    exchange = client.connection.exchange
    assert exchange is not None
    return client, transport, exchange


def upload_of(exchange: Exchange) -> Upload:
    """Its upload."""
    assert exchange.upload is not None
    return exchange.upload


async def ended(desk: OwnDesk) -> Exception | None:
    """Why the exchange ended, once it has."""
    for _ in range(5):
        await asyncio.sleep(0)
    return desk.ended[0]


async def test_a_form_must_come_at_a_kilobyte_a_second(desk: OwnDesk) -> None:
    """As every other body: 408, and the exchange that runs already ends."""
    client, _, _ = sending(desk, 1 << 20)
    client.send(b"x" * 5000)
    client.wait(14)
    assert desk.ended == []
    client.wait(2)
    reason = await ended(desk)
    assert isinstance(reason, Refusal)
    assert (reason.status, reason.code) == (408, "request_timeout")


async def test_the_time_in_which_nobody_takes_it_is_not_the_clients(desk: OwnDesk) -> None:
    """While it is held back it may send nothing; afterwards it must again."""
    client, transport, exchange = sending(desk, 1 << 20)
    client.send(b"x" * 5000)
    upload_of(exchange).hold()
    assert not transport.reading
    for _ in range(100):
        client.wait(1)
    assert desk.ended == []
    upload_of(exchange).go_on()
    assert transport.reading
    client.wait(12)
    assert isinstance(await ended(desk), Refusal)


async def test_what_waits_is_bounded_and_counted(desk: OwnDesk) -> None:
    """Past 256 KiB the client is not read, until the pieces are taken."""
    client, transport, exchange = sending(desk, 1 << 20)
    client.send(b"x" * HELD)
    assert (transport.reading, desk.caps.bodies) == (True, HELD)
    client.send(b"x")
    assert (transport.reading, desk.caps.bodies) == (False, HELD + 1)
    pieces = await upload_of(exchange).more()
    assert sum(map(len, pieces)) == HELD + 1
    assert (transport.reading, desk.caps.bodies) == (True, 0)


async def test_what_waits_is_forgotten_with_the_client(desk: OwnDesk) -> None:
    """It leaves: nothing stays counted."""
    client, _, _ = sending(desk, 1 << 20)
    client.send(b"x" * 100_000)
    client.connection.connection_lost(None)
    assert isinstance(await ended(desk), ClientGone)
    assert desk.caps.bodies == 0


async def test_all_that_waits_has_a_budget_together(desk: OwnDesk) -> None:
    """With every other body: 503, and what this one held is let go."""
    client, _, _ = sending(desk, 1 << 20)
    desk.caps.bodies = BUFFERED_BODIES - 50
    client.send(b"x" * 100)
    reason = await ended(desk)
    assert isinstance(reason, Refusal)
    assert (reason.status, reason.code) == (503, "overloaded")
    assert desk.caps.bodies == BUFFERED_BODIES - 50


async def test_a_form_that_is_here_whole_is_busy(desk: OwnDesk) -> None:
    """No deadline of the body holds any more, and what follows is the next request's."""
    client, _, exchange = sending(desk, 5)
    client.send(b"12345" + b"GET /health HTTP/1.1\r\n")
    assert upload_of(exchange).whole
    assert await upload_of(exchange).more() == [b"12345"]
    assert await upload_of(exchange).more() == []
    client.wait(3600)
    assert desk.ended == []


async def test_pieces_go_to_the_sink_in_order_with_an_end() -> None:
    """What came before there was one, then the rest, then b""."""
    upload = Upload(Caps(20_000), HeldTransport())
    upload.feed([b"a", b"b"], False)
    taken: list[bytes] = []
    upload.pour(taken.append)
    upload.feed([b"c"], False)
    upload.feed([], True)
    assert taken == [b"a", b"b", b"c", b""]


async def test_a_sink_that_comes_late_gets_the_end_too() -> None:
    """All of the body was here before."""
    upload = Upload(Caps(20_000), HeldTransport())
    upload.feed([b"a"], True)
    taken: list[bytes] = []
    upload.pour(taken.append)
    assert taken == [b"a", b""]
