"""Heads that repeat: read once, and told from every other one."""

from __future__ import annotations

import pytest

from flm.gateway.edge.reader import RequestReader
from flm.gateway.same_head import MAX_HEAD, SameHead

HEAD = b"POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\nX-Last: 1\r\n\r\n"


def message(body: bytes, head: bytes = HEAD) -> bytes:
    """A request with that body."""
    return head % len(body) + body


def learned(data: bytes) -> SameHead | None:
    """What is remembered of a message."""
    return SameHead.of(data, data.find(b"\r\n\r\n"))


def test_only_the_length_may_differ():
    """Another body of another length under the same head is taken whole."""
    same = learned(message(b"one"))
    assert same is not None
    assert same.body(message(b"four")) == b"four"
    assert same.body(message(b"x" * 70_000)) == b"x" * 70_000


@pytest.mark.parametrize(
    "data",
    [
        message(b"four") + b"POST",
        message(b"four")[:-1],
        message(b"four").replace(b"localhost", b"elsewhere"),
        message(b"four").replace(b"X-Last: 1", b"X-Last: 2"),
        message(b"four").replace(b"X-Last: 1", b"X-Last: 1\r\nX-More: 1"),
        message(b"four").replace(b"Length: 4", b"Length: 04"),
        message(b"four").replace(b"Length: 4", b"Length: +4"),
        message(b"four").replace(b"Length: 4", b"Length: 4 "),
        message(b"four").replace(b"Length: 4", b"Length: 4, 4"),
        message(b"four").replace(b"Length: 4", b"Length: "),
        message(b"four").replace(b"Length: 4", b"Length: 0x4"),
        message(b"four").replace(b"Length: 4\r", b"Length: 4\n"),
        message(b""),
        b"",
    ],
)
def test_everything_else_is_left_to_the_parser(data: bytes):
    """More or fewer bytes, another field, a length that is not plain digits."""
    same = learned(message(b"one"))
    assert same is not None
    assert same.body(data) is None


@pytest.mark.parametrize(
    "head",
    [
        b"POST /x HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /x HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n",
        b"POST /x HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"POST /x HTTP/1.1\r\nX: " + b"a" * MAX_HEAD + b"\r\nContent-Length: 3\r\n\r\n",
    ],
)
def test_a_head_that_is_not_that_simple_is_not_remembered(head: bytes):
    """No length, two of them, or more bytes than a connection may cost."""
    assert learned(head + b"abc") is None


def test_a_reader_takes_the_same_head_with_another_length():
    """The request is as if it had been parsed."""
    reader = RequestReader()
    bodies = []
    for body in (b"one", b"three", b"fourth", b"one"):
        assert reader.head(message(body))
        assert reader.complete
        assert reader.request is not None
        assert reader.request.path == b"/x"
        assert reader.request.length == len(body)
        bodies.append(b"".join(reader.chunks))
        reader.next()
    assert bodies == [b"one", b"three", b"fourth", b"one"]


def test_a_reader_notices_that_the_head_changed():
    """Another field value is read anew; so is a request in two pieces."""
    reader = RequestReader()
    assert reader.head(message(b"one"))
    reader.next()
    assert reader.head(message(b"two").replace(b"localhost", b"elsewhere"))
    assert reader.request is not None
    assert reader.request.values[b"host"] == b"elsewhere"
    reader.next()
    whole = message(b"three").replace(b"localhost", b"elsewhere")
    assert reader.head(whole[:-2])
    assert not reader.complete
    reader.body_limit = 100
    assert reader.body(whole[-2:])
    assert b"".join(reader.chunks) == b"three"
