"""Deadlines and bounds of a client's connection, with the test as its clock and its transport."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from flm.errors import Refusal
from flm.gateway.edge.caps import BUFFERED_BODIES, Caps
from flm.gateway.edge.connection import Connection
from flm.gateway.edge.heads import Heads
from flm.gateway.endpoints.table import route_table
from flm.gateway.exchange import ClientGone, Exchange
from support.raw_client import CHAT, chat, request


class OwnClock:
    """A clock that stands still until it is told otherwise."""

    def __init__(self) -> None:
        self.time = 1000.0

    def now(self) -> float:
        """The same as `monotonic`."""
        return self.time

    def monotonic(self) -> float:
        """Where it stands."""
        return self.time


class OwnTransport(asyncio.Transport):
    """A transport that notes what it is told. ``unsent``: what its client has not taken."""

    def __init__(self, address: str = "127.0.0.1") -> None:
        super().__init__({"peername": (address, 5)})
        self.written = b""
        self.unsent = 0
        self.ended = ""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Note it."""
        self.written += bytes(data)

    def write_eof(self) -> None:
        """Note it."""
        self.ended = "half"

    def can_write_eof(self) -> bool:
        """It can."""
        return True

    def close(self) -> None:
        """Note it."""
        self.ended = "closed"

    def abort(self) -> None:
        """Note it."""
        self.ended = "aborted"

    def get_write_buffer_size(self) -> int:
        """What is unsent."""
        return self.unsent

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing to do."""


class OwnDesk:
    """A desk that judges by the route alone and lets exchanges run until they are aborted."""

    def __init__(self) -> None:
        self.clock = OwnClock()
        self.caps = Caps(20_000)
        self.heads = Heads(0.0)
        self.draining = False
        self.connections: set[Connection] = set()
        self.recorded: list[tuple[int, str]] = []
        self.ended: list[Exception | None] = []

    def open_exchange(self, client: str, loopback: bool, started: float) -> Exchange:
        """A new exchange."""
        return Exchange(b"req_1", client, loopback, started, started)

    def judge(self, exchange: Exchange) -> None:
        """By the route alone."""
        assert exchange.request is not None
        exchange.route = route_table().find(exchange.request.method, exchange.request.path)

    async def serve(self, exchange: Exchange, connection: Connection) -> None:
        """Until it is aborted."""
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.ended.append(exchange.aborted)
            connection.finish()

    def refused(self, exchange: Exchange, refusal: Refusal) -> tuple[int, bytes]:
        """Note it."""
        self.recorded.append((refusal.status, refusal.code))
        return refusal.status, b"{}"


class Client:
    """A connection with everything around it in the test's hands."""

    def __init__(self, desk: OwnDesk, address: str = "127.0.0.1") -> None:
        self.desk = desk
        self.transport = OwnTransport(address)
        self.connection = Connection(desk, loopback=True)
        self.connection.connection_made(self.transport)

    def send(self, data: bytes) -> None:
        """What arrives from it."""
        self.connection.data_received(data)

    def wait(self, seconds: float) -> str:
        """Let so much time pass; how the connection has ended."""
        self.desk.clock.time += seconds
        self.connection.sweep(self.desk.clock.time)
        return self.transport.ended

    @property
    def status(self) -> int:
        """The status that was written last."""
        lines = [line for line in self.transport.written.split(b"\r\n") if line[:5] == b"HTTP/"]
        return int(lines[-1].split(b" ")[1]) if lines else 0


@pytest.fixture
def desk() -> OwnDesk:
    """A desk."""
    return OwnDesk()


@pytest.fixture
def client(desk: OwnDesk) -> Client:
    """A connection to it."""
    return Client(desk)


HEAD = request("POST", CHAT, "Content-Length: 1000000")


def test_a_head_must_come_within_10_s(client: Client) -> None:
    """Counted from its first byte; bytes on the way buy no time (Slowloris)."""
    client.wait(60)
    for byte in HEAD[:9]:
        client.send(bytes([byte]))
        assert client.wait(1) == ""
    client.send(b"x")
    assert client.wait(2) == "half"
    assert client.status == 408
    assert client.desk.recorded == [(408, "request_timeout")]
    assert client.wait(6) == "aborted"


def test_0_9_is_ended_by_the_same_deadline(client: Client) -> None:
    """`GET /` and a line end: the parser waits for more."""
    client.send(b"GET /\r\n")
    assert client.wait(11) == "half"
    assert client.status == 408


def test_an_idle_connection_is_closed_after_75_s(client: Client) -> None:
    """Without a word; blank lines do not keep it."""
    client.send(b"\r\n")
    assert client.wait(74) == ""
    assert client.wait(2) == "closed"
    assert client.transport.written == b""


def test_a_body_must_come_at_a_kilobyte_a_second(client: Client) -> None:
    """After ten seconds of grace, on the whole."""
    client.send(HEAD)
    assert client.wait(10) == ""
    client.send(b"x" * 2048)
    assert client.wait(2) == ""
    client.send(b"x" * 512)
    assert client.wait(1) == "half"
    assert client.status == 408


def test_a_body_that_comes_is_waited_for(client: Client) -> None:
    """However long it takes at that pace."""
    client.send(HEAD)
    for _ in range(300):
        client.send(b"x" * 1100)
        assert client.wait(1) == ""


async def test_a_client_that_takes_nothing_for_60_s_is_dropped(client: Client) -> None:
    """What it takes buys it time; its exchange ends as `client_closed`."""
    client.send(chat())
    await asyncio.sleep(0)
    client.transport.unsent = 100_000
    client.connection.pause_writing()
    assert client.wait(59) == ""
    client.transport.unsent = 99_000
    assert client.wait(1) == ""
    assert client.wait(59) == ""
    assert client.wait(2) == "aborted"
    await asyncio.sleep(0)
    assert [type(reason) for reason in client.desk.ended] == [ClientGone]


def test_a_last_answer_under_the_high_water_mark_is_not_waited_for_either(client: Client) -> None:
    """A few bytes that nobody takes hold no connection: neither kept alive nor closing."""
    client.transport.unsent = 500
    assert client.wait(74) == ""
    assert client.wait(2) == "aborted"


def test_a_close_that_is_not_taken_ends_after_60_s(desk: OwnDesk) -> None:
    """The answer was sent, the connection closes when it is flushed: not for ever."""
    client = Client(desk)
    client.send(request("GET", "/nope", "Connection: close"))
    assert (client.status, client.transport.ended) == (404, "closed")
    assert client.wait(59) == "closed"
    assert client.wait(2) == "aborted"


def test_linger_reads_and_drops_for_5_s(client: Client) -> None:
    """So that the error arrives; then it is enough."""
    client.send(request("POST", "/nope", "Content-Length: 100000000"))
    assert (client.status, client.transport.ended) == (404, "half")
    client.send(b"x" * (32 << 20))
    assert client.wait(4) == "half"
    assert client.wait(2) == "aborted"


def test_linger_reads_and_drops_64_mb(client: Client) -> None:
    """However fast they come."""
    client.send(request("POST", "/nope", "Content-Length: 100000000"))
    client.send(b"x" * (64 << 20))
    assert client.transport.ended == "half"
    client.send(b"x")
    assert client.transport.ended == "aborted"


async def test_64_kb_may_wait_behind_a_request(desk: OwnDesk) -> None:
    """Also when they come in one piece with it; one byte more closes the connection."""
    asked = request("GET", "/v1/models")
    fine, over = Client(desk), Client(desk)
    fine.send(asked + b"x" * (64 << 10))
    assert fine.transport.ended == ""
    over.send(asked + b"x" * (64 << 10) + b"x")
    assert over.transport.ended == "aborted"
    for _ in range(3):
        await asyncio.sleep(0)
    assert [type(reason) for reason in desk.ended] == [ClientGone]
    fine.connection.connection_lost(None)
    for _ in range(3):
        await asyncio.sleep(0)


async def test_an_answer_that_is_not_taken_holds_the_next_request(desk: OwnDesk) -> None:
    """Whenever it comes: one unsent answer for each connection, and it is counted."""
    client = Client(desk)
    client.send(request("GET", "/v1/models"))
    exchange = client.connection.exchange
    assert exchange is not None
    client.transport.unsent = 100_000
    client.connection.pause_writing()
    client.connection.answer(exchange, 200, b"application/json", b"x" * 100_000)
    client.connection.finish()
    assert desk.caps.answers == 100_000
    client.send(request("GET", "/nope"))
    await asyncio.sleep(0)
    assert b"HTTP/1.1 404" not in client.transport.written
    client.connection.resume_writing()
    assert desk.caps.answers == 0
    await asyncio.sleep(0)
    assert client.transport.written.count(b"HTTP/1.1 404 Not Found") == 1
    client.connection.connection_lost(None)


async def test_a_deadline_of_the_exchange_ends_it(client: Client) -> None:
    """With 504; without one there is no limit."""
    client.send(chat())
    await asyncio.sleep(0)
    assert client.wait(10_000) == ""
    exchange = client.connection.exchange
    assert exchange is not None
    exchange.deadline = client.desk.clock.time + 5
    client.wait(4)
    assert exchange.aborted is None
    client.wait(2)
    assert cast("Refusal", exchange.aborted).code == "engine_timeout"
    await asyncio.sleep(0)
    assert len(client.desk.ended) == 1


async def test_an_exchange_that_is_aborted_before_it_began_still_ends(client: Client) -> None:
    """A task cancelled before its first step would leave no record and no answer."""
    client.send(chat())
    client.connection.eof_received()
    for _ in range(3):
        await asyncio.sleep(0)
    assert [type(reason) for reason in client.desk.ended] == [ClientGone]


# The bounds on bodies.


def test_request_bodies_have_a_budget_together(desk: OwnDesk) -> None:
    """256 MB for all: who passes it is told to come back, who was in is not disturbed."""
    inside = Client(desk)
    inside.send(HEAD + b"x" * 1000)
    desk.caps.bodies += BUFFERED_BODIES - 1500
    late = Client(desk)
    late.send(HEAD)
    late.send(b"x" * 1000)
    assert late.status == 503
    assert b"retry-after: 2\r\n" in late.transport.written
    assert desk.recorded == [(503, "overloaded")]
    assert inside.transport.written == b""
    assert desk.caps.bodies == BUFFERED_BODIES - 500
    late.connection.connection_lost(None)
    inside.connection.connection_lost(None)
    assert desk.caps.bodies == BUFFERED_BODIES - 1500


async def test_a_body_counts_until_its_exchange_has_ended(desk: OwnDesk) -> None:
    """It may be held as long as the engine works."""
    client = Client(desk)
    client.send(chat())
    await asyncio.sleep(0)
    assert desk.caps.bodies > 0
    client.connection.connection_lost(None)
    await asyncio.sleep(0)
    assert desk.caps.bodies == 0


def test_a_refused_body_is_let_go_at_once(desk: OwnDesk) -> None:
    """What lingers holds nothing."""
    client = Client(desk)
    client.send(request("POST", CHAT, "Transfer-Encoding: chunked"))
    client.send(b"%x\r\n" % (33 << 20) + b"x" * (33 << 20))
    assert client.status == 413
    assert client.connection._reader.chunks == []
    assert desk.caps.bodies == 0


# The bounds on connections.


def test_a_foreign_address_may_have_64_connections(desk: OwnDesk) -> None:
    """The next one is told so and closed; when one leaves there is room again."""
    clients = [Client(desk, "192.0.2.7") for _ in range(64)]
    refused = Client(desk, "192.0.2.7")
    assert (refused.status, refused.transport.ended) == (503, "closed")
    assert b"retry-after: 1\r\n" in refused.transport.written
    assert b"x-request-id: req_1\r\n" in refused.transport.written
    assert desk.recorded == [(503, "too_many_connections")]
    refused.send(request("GET", "/health"))
    refused.connection.connection_lost(None)
    assert desk.caps.connections == 64
    assert Client(desk, "192.0.2.8").transport.ended == ""
    clients[0].connection.connection_lost(None)
    assert Client(desk, "192.0.2.7").transport.ended == ""


def test_loopback_may_have_4096() -> None:
    """Everybody here shares it."""
    caps = Caps(20_000)
    assert all(caps.admit("127.0.0.1") for _ in range(4096))
    assert not caps.admit("127.0.0.1")
    assert all(caps.admit("::1") for _ in range(4096))
    assert caps.admit("192.0.2.1")


@pytest.mark.parametrize(
    ("files", "limit"), [(1024, 412), (20_000, 9900), (1_000_000, 10_000), (100, 16)]
)
def test_connections_are_bounded_by_the_open_files(files: int, limit: int) -> None:
    """Half of what is left after 200, and never more than 10,000."""
    caps = Caps(files)
    addresses = [f"10.0.{n >> 8}.{n & 255}" for n in range(limit + 1)]
    assert [caps.admit(address) for address in addresses] == [True] * limit + [False]
    for address in addresses[:-1]:
        caps.leave(address)
    assert caps.connections == 0
    assert caps.admit(addresses[-1])
