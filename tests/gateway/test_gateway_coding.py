"""Encoded request bodies: what is unpacked, what is refused, and that others go on meanwhile."""

from __future__ import annotations

import gzip
import json
import threading
import tracemalloc
import zlib
from collections.abc import Callable

import brotli
import pytest
from backports import zstd
from hypothesis import given, settings
from hypothesis import strategies as st

from flm.errors import Refusal
from flm.gateway.edge.coding import codings_of, unpacking
from support.gateway import RunningGateway
from support.raw_client import CHAT, RawClient, Response, ask, chunked, eventually, request
from support.scripted_engine import ScriptedEngine

LIMIT = 32 << 20
ASKED = {"model": "m", "messages": [{"role": "user", "content": "日本語 😀"}]}
BODY = json.dumps(ASKED, ensure_ascii=False).encode()


def raw_deflate(data: bytes) -> bytes:
    """Deflate without zlib's header, as some clients send it."""
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "deflate without a header": raw_deflate,
    "br": lambda data: brotli.compress(data, quality=5),
    "zstd": zstd.compress,
}


def plain(body: bytes, *codings: str, limit: int = LIMIT) -> bytes:
    """The whole of what is unpacked."""
    return b"".join(unpacking(body, codings, limit))


def refused(body: bytes, *codings: str, limit: int = LIMIT) -> tuple[int, str]:
    """Status and code of the refusal."""
    with pytest.raises(Refusal) as caught:
        plain(body, *codings, limit=limit)
    return caught.value.status, caught.value.code


def post(body: bytes, coding: str, *lines: str) -> bytes:
    """A chat request with that body."""
    return request("POST", CHAT, f"Content-Encoding: {coding}", *lines, body=body)


# What is unpacked.


@pytest.mark.parametrize("name", PACKERS)
def test_each_coding_reaches_the_engine_plain(
    served: RunningGateway, engine: ScriptedEngine, name: str
) -> None:
    """Twice on one connection, with the same head."""
    data = post(PACKERS[name](BODY), name.partition(" ")[0])
    with RawClient(served.port) as client:
        assert [client.ask(data).status for _ in range(2)] == [200, 200]
    assert [json.loads(seen.body) for seen in engine.seen] == [ASKED, ASKED]


@pytest.mark.parametrize(
    "lines",
    [
        ("Content-Encoding: gzip, br",),
        ("Content-Encoding: gzip", "Content-Encoding: br"),
        ("Content-Encoding: GZip , identity,, BR ",),
    ],
)
def test_two_over_each_other_are_taken_off_in_turn(
    served: RunningGateway, engine: ScriptedEngine, lines: tuple[str, ...]
) -> None:
    """The last one named is the outermost (RFC 9110 section 8.4)."""
    data = request("POST", CHAT, *lines, body=brotli.compress(gzip.compress(BODY)))
    assert ask(served.port, data).status == 200
    assert json.loads(engine.seen[0].body) == ASKED


@pytest.mark.parametrize("coding", ["", "identity", "identity, identity, identity"])
def test_identity_is_no_coding(served: RunningGateway, engine: ScriptedEngine, coding: str) -> None:
    """However often it is named."""
    assert ask(served.port, post(BODY, coding)).status == 200


def test_an_encoded_body_may_come_in_chunks(served: RunningGateway, engine: ScriptedEngine) -> None:
    """A byte each; transfer and content coding have nothing to do with each other."""
    pieces = [bytes([byte]) for byte in zstd.compress(BODY)]
    head = request("POST", CHAT, "Content-Encoding: zstd", "Transfer-Encoding: chunked")
    assert ask(served.port, head + chunked(*pieces)).status == 200
    assert json.loads(engine.seen[0].body) == ASKED


def test_an_encoded_body_may_wait_to_be_asked_for(
    served: RunningGateway, engine: ScriptedEngine
) -> None:
    """`Expect: 100-continue`, as curl sends it with large bodies."""
    head, end, body = post(gzip.compress(BODY), "gzip", "Expect: 100-continue").partition(
        b"\r\n\r\n"
    )
    with RawClient(served.port) as client:
        client.send(head + end)
        assert client.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert client.ask(body).status == 200


@settings(max_examples=50, deadline=None)
@given(data=st.binary(max_size=300_000), name=st.sampled_from(sorted(PACKERS)))
def test_what_is_packed_comes_out_again(data: bytes, name: str) -> None:
    """Any bytes, by every coding."""
    assert plain(PACKERS[name](data), *codings_of([name.partition(" ")[0].encode()])) == data


@pytest.mark.parametrize("name", PACKERS)
def test_a_large_body_comes_out_whole(name: str) -> None:
    """Larger than every window and every step."""
    data = b"".join(b"%d some words, " % number for number in range(700_000))
    assert plain(PACKERS[name](data), *codings_of([name.partition(" ")[0].encode()])) == data


# What is refused.


@pytest.mark.parametrize(
    "coding", ["compress", "gzip, compress", "gzip;q=1", "*", "br, gzip, br", "zip", "lzma"]
)
def test_an_unknown_coding_is_415_and_says_what_is_understood(
    served: RunningGateway, engine: ScriptedEngine, coding: str
) -> None:
    """Three over each other among them; the engine hears nothing."""
    response = ask(served.port, post(BODY, coding))
    assert (response.status, response.code) == (415, "unsupported_encoding")
    assert response.headers["accept-encoding"] == "gzip, deflate, br, zstd"
    assert engine.seen == []


@pytest.mark.parametrize("name", PACKERS)
def test_damage_is_400(name: str) -> None:
    """Cut short at any place, followed by something, empty, or plain text in its place."""
    coding = codings_of([name.partition(" ")[0].encode()])[0]
    packed = PACKERS[name](BODY)
    cuts = [packed[:cut] for cut in range(len(packed))]
    for wrong in (*cuts, packed + b"x", packed + packed, packed + b"\0" * 70_000, BODY):
        assert refused(wrong, coding) == (400, "damaged_encoding")


def test_damage_is_said_to_the_client_and_the_connection_stays(served: RunningGateway) -> None:
    """The body was read to its end."""
    with RawClient(served.port) as client:
        response = client.ask(post(BODY, "gzip"))
        assert (response.status, response.code) == (400, "damaged_encoding")
        assert client.ask(request("GET", "/health")).status == 200


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=2_000), name=st.sampled_from(("gzip", "deflate", "br", "zstd")))
def test_any_bytes_are_unpacked_or_refused(data: bytes, name: str) -> None:
    """Nothing else comes out of a decoder."""
    try:
        plain(data, name)
    except Refusal as refusal:
        assert (refusal.status, refusal.code) == (400, "damaged_encoding")


@pytest.mark.parametrize("name", PACKERS)
def test_the_route_s_limit_holds_for_what_comes_out(name: str) -> None:
    """One byte too many is 413, all that may be is not."""
    coding = codings_of([name.partition(" ")[0].encode()])[0]
    packed = PACKERS[name](b"abcdefgh" * 1250)
    assert len(plain(packed, coding, limit=10_000)) == 10_000
    assert refused(packed, coding, limit=9_999) == (413, "body_too_large")


def zeros(name: str, megabytes: int) -> bytes:
    """So many megabytes of nothing, packed."""
    return PACKERS[name](bytes(megabytes << 20))


@pytest.mark.parametrize("name", PACKERS)
def test_a_bomb_is_413_before_it_has_grown(name: str) -> None:
    """64 MB in a few kilobytes never take more than a hundred times what was sent."""
    coding = codings_of([name.partition(" ")[0].encode()])[0]
    packed = zeros(name, 64)
    tracemalloc.start()
    try:
        assert refused(packed, coding) == (413, "encoding_ratio")
        assert tracemalloc.get_traced_memory()[1] < 3 << 20 or len(packed) > 60_000
        assert tracemalloc.get_traced_memory()[1] < 12 << 20
    finally:
        tracemalloc.stop()


def test_a_bomb_in_a_bomb_is_413() -> None:
    """Each layer is measured against what was sent."""
    assert refused(gzip.compress(zeros("gzip", 64)), "gzip", "gzip") == (413, "encoding_ratio")
    assert refused(brotli.compress(zeros("zstd", 64)), "br", "zstd") == (413, "encoding_ratio")


def test_a_small_body_may_be_as_dense_as_it_likes() -> None:
    """A megabyte of spaces is no bomb."""
    assert len(plain(zeros("gzip", 1), "gzip")) == 1 << 20


def test_a_window_beyond_eight_megabytes_is_refused() -> None:
    """RFC 9659: the sender says how much memory the receiver must hold."""
    packer = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 27})
    packed = packer.compress(b"abc" * 3_000_000) + packer.flush()
    assert refused(packed, "zstd") == (400, "damaged_encoding")


def test_a_bomb_is_refused_over_the_wire(served: RunningGateway, engine: ScriptedEngine) -> None:
    """And recorded by its code."""
    response = ask(served.port, post(zeros("br", 64), "br"))
    assert (response.status, response.code) == (413, "encoding_ratio")
    eventually(lambda: served.records()[-1].error == "encoding_ratio")
    assert engine.seen == []


def test_without_a_key_nothing_is_unpacked(served: RunningGateway) -> None:
    """The guards come first."""
    data = request("POST", CHAT, "Content-Encoding: gzip", body=zeros("gzip", 16), key=None)
    assert ask(served.port, data).status == 401


# Others go on.


def test_others_are_answered_while_a_large_body_is_unpacked(
    served: RunningGateway, engine: ScriptedEngine
) -> None:
    """Thirty megabytes take many turns of the loop, and a health check each of them."""
    text = "".join(f"{number} some words, " for number in range(1_500_000))
    asked = {"model": "m", "messages": [{"role": "user", "content": text}]}
    packed = gzip.compress(json.dumps(asked).encode(), 1)
    answers: list[Response] = []

    def send() -> None:
        with RawClient(served.port) as client:
            answers.append(client.ask(post(packed, "gzip")))

    sending = threading.Thread(target=send)
    asked_meanwhile = 0
    sending.start()
    with RawClient(served.port) as client:
        while sending.is_alive():
            assert client.ask(request("GET", "/health")).status == 200
            asked_meanwhile += 1
    sending.join()
    assert answers[0].status == 200
    assert asked_meanwhile > 10
    assert json.loads(engine.seen[0].body)["messages"][0]["content"] == text


def test_a_client_that_leaves_meanwhile_is_noticed(
    served: RunningGateway, engine: ScriptedEngine
) -> None:
    """Its record says so, and the next one is served."""
    text = "".join(f"{number} some words, " for number in range(1_500_000))
    asked = {"model": "m", "messages": [{"role": "user", "content": text}]}
    packed = gzip.compress(json.dumps(asked).encode(), 1)
    before = len(served.records())
    with RawClient(served.port) as client:
        client.send(post(packed, "gzip")).reset()
    eventually(lambda: len(served.records()) > before)
    assert served.records()[before].error == "client_closed"
    assert ask(served.port, post(gzip.compress(BODY), "gzip")).status == 200
