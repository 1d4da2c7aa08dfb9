"""Bodies of many megabytes: whole, in whatever pieces they come, and nothing of them left over."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import cast

import msgspec
import pytest

from flm.dialects.body import check_depth
from flm.dialects.media import check_part
from flm.errors import Refusal
from flm.gateway.desk import GatewayDesk
from flm.gateway.edge.caps import Caps
from flm.gateway.edge.connection import Connection
from flm.gateway.edge.reader import RequestReader
from flm.gateway.endpoints.table import route_table
from flm.gateway.journal import Journal
from flm.gateway.live import Live
from flm.gateway.upstream.answer import Answer
from flm.gateway.upstream.connection import EngineConnection
from flm.ports.clock import SystemClock
from flm.ports.processes import current
from flm.wire.snapshot import Rules, Snapshot
from support.gateway import KEY, KEY_ID, keys_section, routes_section, target_at
from support.raw_client import chat, request

LARGE = b'{"messages":"' + bytes(range(32, 34)) * 1_500_000 + b'"}'
PICTURE = b"data:image/png;base64," + b"iVBORw0KGgo" * 100


def test_a_body_that_comes_in_pieces_is_whole_and_the_next_request_is_read() -> None:
    """What is gathered is what was sent, and what comes behind it is a request of its own."""
    reader = RequestReader()
    reader.body_limit = 32 << 20
    head = b"POST /v1/x HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % len(LARGE)
    behind = chat()

    assert reader.head(head)
    view = memoryview(LARGE)
    for start in range(0, 2_900_000, 100_000):
        assert not reader.body(bytes(view[start : start + 100_000]))
        reader.gather()
    assert reader.body(bytes(view[2_900_000:]) + behind)
    assert reader.chunks != [LARGE]
    assert reader.payload() == LARGE
    assert reader.payload() == b""
    assert reader.next() == behind
    assert reader.head(behind)
    assert reader.complete
    assert behind.endswith(reader.payload())


def test_a_refused_body_is_not_held() -> None:
    """Nothing is left of what had come."""
    reader = RequestReader()
    reader.body_limit = 32 << 20
    assert reader.head(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4000000\r\n\r\n")
    assert not reader.body(bytes(2_000_000))
    reader.gather()
    assert not reader.body(bytes(1_000_000))

    reader.drop()

    assert reader.payload() == b""


def test_the_depth_of_a_large_body_is_judged() -> None:
    """Whether its brackets are few or many, and whether they stand in a text."""
    filler = b'"' + b"x" * 100_000 + b'"'

    check_depth(b"[" * 64 + filler + b"]" * 64)
    check_depth(b'["' + b"[{" * 1000 + b'",' + filler + b"]")
    with pytest.raises(Refusal, match="64 levels"):
        check_depth(b"[" * 40 + b'{"a":' * 25 + filler + b"}" * 25 + b"]" * 40)


@pytest.mark.parametrize(
    "picture",
    [
        b'{"url":"%b"}' % PICTURE,
        b'{"detail":"low", "url" : "%b"}' % PICTURE,
        b'{"url":"%b","text":"http://anywhere/%b"}' % (PICTURE, b"x" * 300),
    ],
)
def test_a_picture_in_an_object_passes(picture: bytes) -> None:
    """A `data:` URL, whatever stands beside it that nobody fetches."""
    part = msgspec.json.decode(
        b'{"type":"image_url","image_url":%b}' % picture, type=dict[str, msgspec.Raw]
    )

    assert check_part(part, "messages[0].content[0]")


@pytest.mark.parametrize(
    "picture",
    [
        b'{"url":"%b","url":"http://10.0.0.1/x"}' % PICTURE,
        b'{"url":"%b","fallback":"http://10.0.0.1/x"}' % PICTURE,
        b'{"url":"%b","more":[{"url":"file:///etc/passwd"}]}' % PICTURE,
        b'{"detail":"%b","url":"//10.0.0.1/x"}' % (b"x" * 300),
    ],
)
def test_a_url_beside_a_picture_is_found(picture: bytes) -> None:
    """Of a field that comes twice the last one counts, for the engine and for FLM."""
    part = msgspec.json.decode(
        b'{"type":"image_url","image_url":%b}' % picture, type=dict[str, msgspec.Raw]
    )

    with pytest.raises(Refusal, match="does not let engines fetch URLs"):
        check_part(part, "messages[0].content[0]")


class Wire:
    """A transport that notes what is done with it; ``waiting``: bytes that have not left."""

    def __init__(self) -> None:
        self.done: list[object] = []
        self.waiting = 0

    def write(self, data: bytes | memoryview) -> None:
        """Kept."""
        self.done.append(bytes(data))

    def get_write_buffer_size(self) -> int:
        """As the test says."""
        return self.waiting

    def set_write_buffer_limits(self, high: int) -> None:
        """Nothing to do."""

    def get_extra_info(self, name: str) -> tuple[str, int]:
        """Where the client is."""
        del name
        return "127.0.0.1", 9

    def is_closing(self) -> bool:
        """Never by itself."""
        return False

    def pause_reading(self) -> None:
        """Noted."""
        self.done.append("pause")

    def resume_reading(self) -> None:
        """Noted."""
        self.done.append("resume")

    def abort(self) -> None:
        """Noted."""
        self.done.append("abort")


def engine_over(wire: Wire) -> EngineConnection:
    """A connection to an engine."""
    engine = EngineConnection()
    engine.connection_made(cast("asyncio.BaseTransport", wire))
    return engine


async def test_a_large_body_leaves_a_piece_in_each_turn_of_the_loop() -> None:
    """Others that are ready go on between two of them."""
    wire = Wire()
    engine = engine_over(wire)
    engine.start(b"head", Answer(), (b"one", memoryview(b"two"), b"three"))
    asyncio.get_running_loop().call_soon(wire.done.append, "others")
    assert wire.done == [b"head", b"one"]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert wire.done == [b"head", b"one", b"two", "others", b"three"]


async def test_a_large_body_leaves_no_faster_than_the_engine_takes_it() -> None:
    """One piece waits at the most."""
    wire = Wire()
    engine = engine_over(wire)
    engine.start(b"head", Answer(), (b"one", b"two", b"three"))
    engine.pause_writing()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    written = list(wire.done)
    engine.resume_writing()
    assert (written, wire.done) == ([b"head", b"one", b"two"], [b"head", b"one", b"two", b"three"])


async def test_an_engine_that_answers_before_it_has_all_is_not_asked_again() -> None:
    """What has not been written yet counts as what has not left."""
    wire = Wire()
    engine = engine_over(wire)
    answer = Answer()
    answer.sink = wire.done.append
    engine.start(b"head", answer, (b"one", b"two"))
    engine.data_received(b"HTTP/1.1 413 No\r\ncontent-length: 2\r\n\r\nno")
    assert (answer.over, engine.reusable) == (True, False)
    engine.abandon()
    await asyncio.sleep(0)
    assert wire.done == [b"head", b"one", b"no", "abort"]


async def test_an_engine_that_has_all_of_it_is_asked_again() -> None:
    """The pieces are gone, and nothing waits."""
    wire = Wire()
    engine = engine_over(wire)
    answer = Answer()
    engine.start(b"head", answer, (b"one",))
    engine.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
    assert (answer.over, engine.reusable) == (True, True)


async def test_others_are_heard_after_each_megabyte_that_arrives(tmp_path: Path) -> None:
    """However much of a body waits in the kernel; a small one is read without a pause."""
    routes = routes_section(target_at(9))
    snapshot = Snapshot(keys_section((KEY_ID, KEY)), routes, Rules(revision=1))
    desk = GatewayDesk(
        clock=SystemClock(), caps=Caps(1000), live=Live(snapshot),
        journal=Journal(tmp_path, "i", current(), 1), table=route_table(), instance="i",
        send=lambda message: None, on_idle=lambda live: None,
    )  # fmt: skip
    wire = Wire()
    connection = Connection(desk, loopback=True)
    connection.connection_made(cast("asyncio.BaseTransport", wire))
    body = json.dumps({"model": "m", "messages": "x" * 2_500_000}).encode()
    connection.data_received(
        request("POST", "/v1/chat/completions", f"Content-Length: {len(body)}")
    )
    heard = []
    for start in range(0, 2_400_000, 200_000):
        connection.data_received(body[start : start + 200_000])
        heard.append(list(wire.done))
        await asyncio.sleep(0)
    assert [len(each) for each in heard] == [0, 0, 0, 0, 0, 1, 2, 2, 2, 2, 3, 4]
    assert wire.done == ["pause", "resume"] * 2
    connection.connection_lost(None)
    desk.journal.close()
