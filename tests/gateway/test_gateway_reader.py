"""The reader of requests as a pure thing: bytes in, requests and refusals out."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flm.errors import Refusal
from flm.gateway.edge.reader import MAX_HEAD, RequestReader
from support.raw_client import CHAT, chat, chunked, request

BODY = b'{"model":"m","messages":[]}'
OFFER = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQA")
CHUNKED = "Transfer-Encoding: chunked"

VALID = [
    request("GET", "/health"),
    b"\r\n\r\n" + request("GET", "/v1/models/a%20b?x=1", "X: y", "x: z"),
    request("HEAD", "/v1/models", version="1.0"),
    request("GET", "/health", "Connection: keep-alive", version="1.0"),
    request("GET", "/health", "Connection: close"),
    request("POST", CHAT, body=BODY),
    request("POST", CHAT, "Content-Length: 0"),
    request("POST", CHAT, CHUNKED) + chunked(BODY),
    request("POST", CHAT, CHUNKED) + chunked(BODY[:5], BODY[5:], extension=b";a=b"),
    request("POST", CHAT, CHUNKED) + chunked(BODY, trailers=b"Authorization: Bearer x\r\nX: 1\r\n"),
    request("POST", CHAT, CHUNKED) + chunked(),
    request("POST", CHAT, *OFFER, body=BODY),
    request("POST", CHAT, *OFFER, CHUNKED) + chunked(BODY),
    request("GET", "/health", *OFFER),
    request("GET", "/health", body=b"a body of GET"),
    chat(text="心" * 2000),
]

Seen = tuple[object, ...]


def read(pieces: list[bytes], limit: int = 1 << 20) -> Iterator[Seen]:
    """The requests in `pieces`, one connection's, and the code of the refusal that ends them."""
    reader = RequestReader()
    reader.body_limit = limit
    waiting = list(pieces)
    held = b""
    while held or waiting:
        held = held or waiting.pop(0)
        try:
            if not reader.head(held):
                held = b""
                continue
            held, reader.rest = reader.rest, b""
            while not reader.complete and (held or waiting):
                piece = held or waiting.pop(0)
                reader.body(piece)
                held, reader.rest = reader.rest, b""
        except Refusal as refusal:
            yield refusal.status, refusal.code
            return
        if not reader.complete:
            return
        asked = reader.request
        assert asked is not None
        yield (asked.method, asked.path, sorted(asked.values.items()), asked.doubled,
               asked.http10, asked.keep_alive, b"".join(reader.chunks))  # fmt: skip
        if not asked.keep_alive:
            return
        held = reader.next() or held


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """`data` in pieces."""
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in pairwise(edges)]


places = st.lists(st.integers(0, 1 << 16), max_size=8)


@given(st.sampled_from(VALID), places)
def test_any_split_of_a_request_is_the_same_request(data: bytes, places: list[int]) -> None:
    """Wherever the network cuts it."""
    [whole] = read([data])
    assert list(read(cut(data, places))) == [whole]


@given(
    st.lists(st.sampled_from([each for each in VALID if b"chunked" not in each]), min_size=2,
             max_size=4),
    places,
)  # fmt: skip
def test_any_split_of_pipelined_requests_is_the_same_requests(
    requests: list[bytes], places: list[int]
) -> None:
    """Each begins where the one before it ended; nothing of it is lost."""
    apart = [seen for data in requests for seen in read([data])]
    closing = [place for place, seen in enumerate(apart) if not seen[5]]
    expected = apart[: closing[0] + 1] if closing else apart
    assert list(read(cut(b"".join(requests), places))) == expected


@given(st.binary(max_size=400), places)
def test_no_bytes_break_the_reader(data: bytes, places: list[int]) -> None:
    """Whatever comes is a request, a refusal or not whole yet."""
    for seen in read(cut(data + b"\r\n\r\n", places)):
        assert seen[0] in (400, 405, 414, 426, 431, 501, 505) or isinstance(seen[0], bytes)


@given(st.sampled_from(VALID), st.integers(0, 1 << 16), st.integers(0, 255))
def test_a_damaged_request_breaks_nothing(data: bytes, place: int, byte: int) -> None:
    """One byte is another: still a request, a refusal or not whole yet."""
    place %= len(data)
    damaged = data[:place] + bytes([byte]) + data[place + 1 :]
    assert all(isinstance(seen, tuple) for seen in read([damaged]))


@given(st.sampled_from(VALID), places)
def test_a_request_behind_a_chunked_body_is_never_half_read(data: bytes, places: list[int]) -> None:
    """It is read whole, or the first one says that the connection closes."""
    first = request("POST", CHAT, CHUNKED) + chunked(BODY)
    [_, *_, body] = next(read([first]))
    seen = list(read(cut(first + data, places)))
    assert seen[0][-1] == body
    keeps_alive = seen[0][5]
    assert not keeps_alive or seen[1:] == list(read([data]))


def test_keep_alive_is_what_connection_says() -> None:
    """And the version's habit otherwise."""
    said = {
        ("1.1", ()): True,
        ("1.1", ("Connection: close",)): False,
        ("1.1", ("Connection: CLOSE",)): False,
        ("1.1", ("Connection: x, close",)): False,
        ("1.1", ("Connection: keep-alive",)): True,
        ("1.0", ()): False,
        ("1.0", ("Connection: Keep-Alive",)): True,
        ("1.0", ("Connection: close",)): False,
    }
    for (version, lines), expected in said.items():
        for data in (
            request("GET", "/", *lines, version=version),
            request("POST", "/", *lines, version=version, body=BODY),
        ):
            [seen] = read([data])
            assert seen[5] is expected, (version, lines)


@pytest.mark.parametrize("size", [MAX_HEAD, MAX_HEAD + 1])
def test_a_head_may_have_64_kb(size: int) -> None:
    """Counted with everything in it, before a byte of it is parsed."""
    empty = len(request("GET", "/", "X: "))
    [seen] = read([request("GET", "/", "X: " + "a" * (size - empty))])
    assert (seen[0] == b"GET") is (size == MAX_HEAD)


@pytest.mark.parametrize("size", [8 << 10, (8 << 10) + 1])
def test_a_target_may_have_8_kb(size: int) -> None:
    """The query counts."""
    [seen] = read([request("GET", "/?" + "a" * (size - 2))])
    assert (seen[0] == b"GET") is (size == 8 << 10)


@pytest.mark.parametrize("count", [100, 101])
def test_a_head_may_have_100_fields(count: int) -> None:
    """Host is one of them."""
    lines = [f"X-{n}: 1" for n in range(count - 1)]
    [seen] = read([request("GET", "/", *lines, key=None)])
    assert (seen[0] == b"GET") is (count == 100)


def test_what_comes_early_is_not_parsed() -> None:
    """A second request that is no HTTP at all does the first no harm."""
    reader = RequestReader()
    assert reader.head(request("GET", "/") + b"\x00\x01\x02")
    assert reader.complete
    assert reader.next() == b"\x00\x01\x02"


def test_nothing_is_held_after_a_close() -> None:
    """The cycle with the parser is broken, and the body goes."""
    reader = RequestReader()
    reader.head(request("POST", "/", body=BODY))
    reader.close()
    assert reader.chunks == []
    assert reader.request is None
