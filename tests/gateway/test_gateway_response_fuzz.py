"""Whatever an engine sends, in whatever pieces: nothing raises, nobody waits for ever."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import cast

from hypothesis import given
from hypothesis import strategies as st

from flm.gateway.upstream.answer import Answer, EngineGone
from flm.gateway.upstream.connection import EngineConnection

HEADS = [
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 204 No Content\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n",
    b"HTTP/1.0 200 OK\r\n",
    b"HTTP/2 200\r\n",
    b"HTTP/1.1 99999 No\r\n",
    b"HTTP/1.1 200 OK\n",
    b"garbage\r\n",
    b"",
]
FIELDS = [
    b"content-length: 4\r\n",
    b"content-length: 0\r\n",
    b"content-length: -1\r\n",
    b"content-length: 99999999999999999999\r\n",
    b"content-length: 4\r\ncontent-length: 5\r\n",
    b"transfer-encoding: chunked\r\n",
    b"transfer-encoding: gzip, chunked\r\n",
    b"connection: close\r\n",
    b"content-type: text/event-stream\r\n",
    b"x: " + b"y" * 70_000 + b"\r\n",
    b"no colon\r\n",
    b" folded\r\n",
    b"\x00: \xff\r\n",
]
BODIES = [
    b"body",
    b"4\r\nbody\r\n0\r\n\r\n",
    b"4;ext=1\r\nbody\r\n0\r\ntrailer: x\r\n\r\n",
    b"ffffffffffffffffff\r\n",
    b"-1\r\nx\r\n",
    b"4\r\nbodyX\r\n",
    b"data: {}\n\n",
    b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
]
ANSWERS = st.tuples(
    st.sampled_from(HEADS),
    st.lists(st.sampled_from(FIELDS), max_size=3).map(b"".join),
    st.sampled_from([b"\r\n", b"\n", b""]),
    st.lists(st.sampled_from(BODIES) | st.binary(max_size=9), max_size=3).map(b"".join),
).map(b"".join)


class Wire:
    """A transport that only notes that it was ended."""

    def __init__(self) -> None:
        self.ended = False

    def write(self, data: bytes) -> None:
        """Gone."""

    def abort(self) -> None:
        """Ended."""
        self.ended = True

    close = abort

    def is_closing(self) -> bool:
        """Whether it was."""
        return self.ended


class Heard:
    """What became of one answer."""

    def __init__(self) -> None:
        self.body = b""
        self.ends: list[str] = []

    def take(self, data: bytes) -> None:
        """A piece of the body."""
        self.body += data

    def end(self, error: EngineGone | None) -> None:
        """The end, well or not."""
        self.ends.append("whole" if error is None else "gone")


def heard(answer_bytes: bytes, cuts: list[int]) -> tuple[int, bytes, list[str]]:
    """Status, body and ends of an answer that comes in these pieces, then the connection ends."""
    wire, told, answer = Wire(), Heard(), Answer()
    engine = EngineConnection()
    engine.connection_made(cast("asyncio.BaseTransport", wire))
    engine.start(b"", answer)
    answer.pour(told.take, told.end)
    places = sorted({0, len(answer_bytes), *(cut % (len(answer_bytes) + 1) for cut in cuts)})
    for start, stop in pairwise(places):
        if not wire.ended:
            engine.data_received(answer_bytes[start:stop])
    engine.connection_lost(None)
    return answer.status, told.body, told.ends


@given(ANSWERS | st.binary(max_size=60), st.lists(st.integers(0, 80_000), max_size=6))
def test_every_answer_ends_exactly_once_and_the_same_at_any_cut(
    answer_bytes: bytes, cuts: list[int]
) -> None:
    """Well or not; what looks whole in one piece looks whole in all."""
    whole = heard(answer_bytes, [])
    assert len(whole[2]) == 1
    pieces = heard(answer_bytes, cuts)
    assert pieces[2] == whole[2]
    if whole[2] == ["whole"]:
        assert pieces == whole
