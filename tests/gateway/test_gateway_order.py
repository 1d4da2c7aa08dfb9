"""What comes before what: the record before the last byte, the end before the acknowledgement."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest

from flm.dialects.chat_parsing import parse_chat
from flm.dialects.engine import CODECS
from flm.domain.policy import Policy
from flm.domain.records import JournalRecord
from flm.errors import Refusal
from flm.gateway.desk import GatewayDesk
from flm.gateway.edge.caps import Caps
from flm.gateway.edge.connection import BUSY, CLOSED, Connection
from flm.gateway.edge.request import Request
from flm.gateway.endpoints.asking import Asking
from flm.gateway.endpoints.relay import Relay
from flm.gateway.endpoints.table import route_table
from flm.gateway.exchange import Exchange
from flm.gateway.journal import Journal
from flm.gateway.live import Live
from flm.gateway.process import GatewayProcess
from flm.gateway.upstream.answer import EngineGone
from flm.ports.clock import SystemClock
from flm.ports.processes import current
from flm.wire.channel import Ack, ToController
from flm.wire.snapshot import Rules, Snapshot
from support.gateway import KEY, KEY_ID, keys_section, routes_section, target_at
from support.scripted_engine import DONE, event

pytestmark = pytest.mark.plain("its parts are stand-ins, and compiled code insists on types")


class Order:
    """Journal and connection at once: notes what is done, in order."""

    blocked = False
    framed = None
    phase = BUSY
    closing = False

    def __init__(self) -> None:
        self.done: list[object] = []

    def append(self, records: Sequence[JournalRecord]) -> None:
        """Records are written."""
        self.done += [("record", record.status, record.error) for record in records]

    def answer(self, exchange: Exchange, status: int, *_: object) -> None:
        """An answer is sent."""
        self.done.append(("answer", status))

    def begin_stream(self, *_: object) -> None:
        """A stream's head is sent."""
        self.done.append("head")

    def send(self, data: bytes) -> None:
        """A piece of it."""
        self.done.append(data)

    def end_stream(self, data: bytes) -> None:
        """The last piece and the end."""
        self.done.append(("end", data))

    def finish(self) -> None:
        """The exchange is over."""
        self.done.append("finish")


class Fed:
    """An engine whose answer the test feeds to the relay."""

    express = None
    over = True

    def __init__(self, *pieces: bytes, error: EngineGone | None = None) -> None:
        self._pieces = pieces
        self._error = error

    @property
    def engine(self) -> Fed:
        """Itself, and its connection, and its answer."""
        return self

    answer = engine

    def pause(self) -> None:
        """Nothing to do."""

    resume = pause

    def pour(
        self, sink: Callable[[bytes], None], on_end: Callable[[EngineGone | None], None]
    ) -> None:
        """All of it at once."""
        for piece in self._pieces:
            sink(piece)
        on_end(self._error)


@pytest.fixture
def order() -> Order:
    """What is done."""
    return Order()


@pytest.fixture
def desk(order: Order) -> GatewayDesk:
    """A desk whose journal notes the order."""
    snapshot = Snapshot(keys_section((KEY_ID, KEY)), routes_section(), Rules(revision=1))
    return GatewayDesk(
        clock=SystemClock(), caps=Caps(1000), live=Live(snapshot),
        journal=cast("Journal", order), table=route_table(), instance="i",
        send=lambda message: None, on_idle=lambda live: None,
    )  # fmt: skip


def exchange_at(desk: GatewayDesk) -> Exchange:
    """An exchange that was read and judged."""
    exchange = desk.open_exchange("127.0.0.1", True, 0.0)
    exchange.request = Request(b"GET", b"/v1/models", {}, [], False, True)
    exchange.route = desk.table.find(b"GET", b"/v1/models")
    return exchange


async def relayed(desk: GatewayDesk, order: Order, fed: Fed) -> None:
    """Relay a stream."""
    chat = parse_chat(b'{"model":"m","messages":[{"role":"user"}],"stream":true}', Policy())
    reader = CODECS["openai"].chat_stream(chat, target_at(1), 0, "id")
    relay = Relay(exchange_at(desk), cast("Connection", order), desk, ())
    try:
        await relay.run(cast("Asking", fed), reader)
    except Refusal as refusal:
        relay.broke(refusal)
    else:
        await relay.complete(chat, None)


async def test_a_whole_answer_is_recorded_before_it_is_sent(
    desk: GatewayDesk, order: Order
) -> None:
    """A gateway that is killed in between has recorded what nobody got, never the reverse."""
    await desk.serve(exchange_at(desk), cast("Connection", order))
    await asyncio.sleep(0)
    assert order.done == [("record", 200, ""), ("answer", 200), "finish"]


async def test_answers_of_one_turn_are_recorded_together_before_the_first_is_sent(
    desk: GatewayDesk, order: Order
) -> None:
    """One write for all of them."""
    for _ in range(2):
        await desk.serve(exchange_at(desk), cast("Connection", order))
    assert order.done == []
    await asyncio.sleep(0)
    record, answer = ("record", 200, ""), ("answer", 200)
    assert order.done == [record, record, answer, "finish", answer, "finish"]


async def test_a_client_that_left_in_that_turn_is_recorded_as_gone(
    desk: GatewayDesk, order: Order
) -> None:
    """Its answer is not sent, and the others are."""
    stays = Order()
    stays.done = order.done
    await desk.serve(exchange_at(desk), cast("Connection", order))
    await desk.serve(exchange_at(desk), cast("Connection", stays))
    order.phase = CLOSED
    await asyncio.sleep(0)
    assert order.done == [
        ("record", 499, "client_closed"), ("record", 200, ""), "finish", ("answer", 200), "finish",
    ]  # fmt: skip


async def test_a_refusal_is_recorded_before_it_is_sent(desk: GatewayDesk, order: Order) -> None:
    """Of an endpoint, and of a bug in one: that is a 500 with a word, and others go on."""

    async def refusing(*_: object) -> None:
        raise Refusal(404, "model_not_found", "no")

    async def failing(*_: object) -> None:
        raise ZeroDivisionError

    for endpoint, status, code in (
        (refusing, 404, "model_not_found"),
        (failing, 500, "internal_error"),
    ):
        order.done.clear()
        exchange = exchange_at(desk)
        route = cast("Any", exchange.route)
        exchange.route = type(route)("/x", b"GET", b"/x", "public", endpoint)
        await desk.serve(exchange, cast("Connection", order))
        assert order.done == [("record", status, code), ("answer", status), "finish"]


async def test_a_stream_is_recorded_before_its_end_mark(desk: GatewayDesk, order: Order) -> None:
    """The events before it went out at once."""
    await relayed(desk, order, Fed(event("one"), DONE))
    mark = b"data: [DONE]\n\n"
    why = DONE.removesuffix(mark)
    assert order.done == ["head", event("one"), why, ("record", 200, ""), ("end", mark)]


async def test_a_broken_stream_is_recorded_before_its_error(
    desk: GatewayDesk, order: Order
) -> None:
    """As failed."""
    gone = EngineGone("gone", untouched=False, reused=False)
    await relayed(desk, order, Fed(event("one"), error=gone))
    head, first, record, (end, said) = order.done
    assert (head, first, end) == ("head", event("one"), "end")
    assert record == ("record", 200, "stream_interrupted")
    assert b"stream_interrupted" in said


async def test_a_refusal_of_a_client_that_has_left_is_only_recorded(
    desk: GatewayDesk, order: Order
) -> None:
    """It left while its key was revoked: a closed transport raises when it is written to."""
    order.phase = CLOSED

    async def revoked(*_: object) -> None:
        raise Refusal(401, "key_revoked", "no")

    exchange = exchange_at(desk)
    route = cast("Any", exchange.route)
    exchange.route = type(route)("/x", b"GET", b"/x", "public", revoked)
    await desk.serve(exchange, cast("Connection", order))
    assert order.done == [("record", 401, "key_revoked"), "finish"]
    order.done.clear()
    gone = EngineGone("gone", untouched=False, reused=False)
    await relayed(desk, order, Fed(event("one"), error=gone))
    assert order.done == ["head", event("one"), ("record", 200, "stream_interrupted")]


async def test_a_revocation_is_acknowledged_when_what_it_ends_has_ended() -> None:
    """The error event is on its way before `revoke` returns."""
    said: list[ToController] = []
    process = GatewayProcess(1, SystemClock(), current())
    process._channel.send = said.append  # type: ignore[method-assign]
    may_end = asyncio.Event()
    ending = asyncio.get_running_loop().create_task(may_end.wait())
    acknowledging = asyncio.get_running_loop().create_task(
        process._acknowledge(7, cast("set[asyncio.Task[None]]", {ending}))
    )
    await asyncio.sleep(0)
    assert said == []
    may_end.set()
    await acknowledging
    assert said == [Ack(7)]
