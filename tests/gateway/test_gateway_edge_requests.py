"""What is refused at the edge, on real sockets: reference tables of httptools 0.9 and RFC 9112."""

from __future__ import annotations

import pytest

from support.gateway import RunningGateway
from support.raw_client import CHAT, RawClient, ask, chat, chunked, eventually, request
from support.scripted_engine import ScriptedEngine

POST = request("POST", CHAT).removesuffix(b"\r\n")
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
GET = b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n"

NOT_HTTP = {
    "length and chunked": POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
    "chunked and length": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n",
    "two lengths": POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "two equal lengths": POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "a list of lengths": POST + b"Content-Length: 2, 2\r\n\r\n{}",
    "a signed length": POST + b"Content-Length: +2\r\n\r\n{}",
    "a length in hex": POST + b"Content-Length: 0x2\r\n\r\n{}",
    "a length of 5000 digits": POST + b"Content-Length: " + b"0" * 4999 + b"2\r\n\r\n{}",
    "a length that overflows": POST + b"Content-Length: 99999999999999999999\r\n\r\n{}",
    "identity behind chunked": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "identity": POST + b"Transfer-Encoding: identity\r\n\r\n",
    "chunked twice": POST
    + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "xchunked": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "a control character in a value": GET + b"X: a\x01b\r\n\r\n",
    "NUL in a value": GET + b"X: a\x00b\r\n\r\n",
    "bare CR in a value": GET + b"X: a\rb\r\n\r\n",
    "bare LF after the start line": b"GET / HTTP/1.1\nHost: localhost\r\n\r\n",
    "bare LF after a field": GET + b"X: a\nY: b\r\n\r\n",
    "bare LFs only": b"GET / HTTP/1.1\nHost: localhost\n\n",
    "space before the colon": GET + b"X : a\r\n\r\n",
    "obs-fold": GET + b"X: a\r\n b\r\n\r\n",
    "an empty name": GET + b": a\r\n\r\n",
    "a control character in a name": GET + b"X\x01: a\r\n\r\n",
    "a chunk size with 0x": CHUNKED + b"0x2\r\n{}\r\n0\r\n\r\n",
    "a signed chunk size": CHUNKED + b"+2\r\n{}\r\n0\r\n\r\n",
    "a chunk size with a space": CHUNKED + b" 2\r\n{}\r\n0\r\n\r\n",
    "a chunk size that overflows": POST
    + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
    "no CRLF behind a chunk": CHUNKED + b"2\r\n{}0\r\n\r\n",
    "bare LF behind a chunk's size": CHUNKED + b"2\n{}\r\n0\r\n\r\n",
    "a lower-case method": b"get / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "an unknown method": b"BREW / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "NUL in the target": b"GET /\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a byte above 0x7f in the target": b"GET /\xe3 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "no version": b"GET /\r\n\r\n",
    "no Host": b"GET /v1/models HTTP/1.1\r\n\r\n",
    "two Hosts": GET + b"Host: localhost\r\n\r\n",
    "an empty Host": b"GET /v1/models HTTP/1.1\r\nHost:\r\n\r\n",
    "Transfer-Encoding in HTTP/1.0": POST.replace(b"1.1", b"1.0")
    + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "absolute form": b"GET http://localhost/v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a fragment": b"GET /v1/models#x HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "two spaces before the target": b"GET  /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a target without a slash": b"GET v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "an asterisk": b"GET * HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "an asterisk for OPTIONS": b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "blank lines without end": b"\r\n" * 20 + GET + b"\r\n",
    "not HTTP at all": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\r\n\r\n",
}

OTHERWISE = {
    "gzip, chunked": (501, POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    "HTTP/2.0": (505, b"GET / HTTP/2.0\r\nHost: localhost\r\n\r\n"),
    "HTTP/1.2": (505, b"GET / HTTP/1.2\r\nHost: localhost\r\n\r\n"),
    "HTTP/2's preface": (505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "CONNECT": (405, b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n"),
    "a web socket": (426, GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
                          b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"),
    "h2c among others": (426, GET + b"Connection: Upgrade\r\nUpgrade: h2c, websocket\r\n\r\n"),
    "a web socket with a body": (426, POST + b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
                                      b"Content-Length: 2\r\n\r\n{}"),
    "a long target": (414, b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    "a long target without an end": (414, b"GET /" + b"a" * 9000),
    "101 fields": (431, GET + b"".join(b"X-%d: 1\r\n" % n for n in range(100)) + b"\r\n"),
    "101 equal fields": (431, GET + b"X: 1\r\n" * 100 + b"\r\n"),
    "a head of 64 kB": (431, GET + b"X: " + b"a" * (64 << 10) + b"\r\n\r\n"),
    "a head of 64 kB in small fields": (431, GET + b"X: %b\r\n" % (b"a" * 2000) * 40 + b"\r\n"),
    "a value without an end": (431, GET + b"X: " + b"a" * (70 << 10)),
}  # fmt: skip


@pytest.mark.parametrize("data", NOT_HTTP.values(), ids=NOT_HTTP)
def test_what_is_no_http_is_refused_and_closed(served: RunningGateway, data: bytes) -> None:
    """400 in OpenAI's shape, then the connection ends: what follows cannot be trusted."""
    with RawClient(served.port) as client:
        response = client.ask(data)
        assert response.status == 400
        assert response.headers["connection"] == "close"
        assert response.headers["x-request-id"].startswith("req_")
        assert response.json()["error"]["type"] == "invalid_request_error"
        assert client.half_close().is_closed()


@pytest.mark.parametrize(("status", "data"), OTHERWISE.values(), ids=OTHERWISE)
def test_what_is_http_and_not_served_has_a_status_of_its_own(
    served: RunningGateway, status: int, data: bytes
) -> None:
    """And closes the connection as well."""
    with RawClient(served.port) as client:
        response = client.ask(data)
        assert response.status == status
        assert response.headers["connection"] == "close"
        assert client.half_close().is_closed()


def test_the_same_is_refused_byte_by_byte(served: RunningGateway) -> None:
    """Where the network cuts it changes nothing."""
    with RawClient(served.port) as client:
        for byte in NOT_HTTP["two lengths"]:
            client.send(bytes([byte]))
        assert client.response().status == 400


def test_data_behind_a_message_that_closes_is_never_looked_at(served: RunningGateway) -> None:
    """One answer, then the end, whatever else was sent."""
    with RawClient(served.port) as client:
        client.send(GET + b"Connection: close\r\n\r\n" + GET + b"\r\n")
        assert client.response().headers["connection"] == "close"
        assert client.half_close().is_closed()


def test_h2c_is_an_offer_that_is_ignored(served: RunningGateway, engine: ScriptedEngine) -> None:
    """Java's client sends it with its first request: served, body included, and kept alive."""
    offer = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAEAAEAA")
    with RawClient(served.port) as client:
        assert client.ask(chat(*offer, text="first")).status == 200
        assert client.ask(chat(text="second")).status == 200
    assert b"first" in engine.seen[0].body
    assert b"second" in engine.seen[1].body


def test_h2c_with_a_chunked_body_is_read_to_its_end(
    served: RunningGateway, engine: ScriptedEngine
) -> None:
    """The framing alone is fed to a fresh parser."""
    whole = chat(text="in chunks").partition(b"\r\n\r\n")[2]
    head = request("POST", CHAT, "Upgrade: h2c", "Connection: Upgrade",
                   "Transfer-Encoding: chunked")  # fmt: skip
    with RawClient(served.port) as client:
        assert client.ask(head + chunked(whole[:20], whole[20:])).status == 200
        assert client.ask(request("GET", "/health")).status == 200
    assert b"in chunks" in engine.seen[0].body


def test_h2c_cut_between_head_and_body(served: RunningGateway, engine: ScriptedEngine) -> None:
    """The body arrives later: the fresh parser waits for it."""
    head, end, body = chat("Connection: Upgrade", "Upgrade: h2c").partition(b"\r\n\r\n")
    with RawClient(served.port) as client:
        client.send(head + end)
        client.send(body[:10])
        assert client.ask(body[10:]).status == 200


def test_h2c_that_closes_is_closed(served: RunningGateway, engine: ScriptedEngine) -> None:
    """`Connection: close` counts in whichever of its lines it stands."""
    with RawClient(served.port) as client:
        lines = ("Connection: close", "Connection: Upgrade", "Upgrade: h2c")
        assert client.ask(chat(*lines)).headers["connection"] == "close"
        assert client.is_closed()


def test_trailers_are_never_seen_by_a_guard(served: RunningGateway, engine: ScriptedEngine) -> None:
    """A key in a trailer is no key; a second one there conflicts with nothing."""
    body = chat().partition(b"\r\n\r\n")[2]
    trailer = chat().split(b"\r\n")[2] + b"\r\n"
    assert trailer.startswith(b"Authorization: Bearer flm_")
    smuggled = request("POST", CHAT, "Transfer-Encoding: chunked", "Trailer: Authorization",
                       key=None) + chunked(body, trailers=trailer)  # fmt: skip
    assert ask(served.port, smuggled).status == 401
    honest = request("POST", CHAT, "Transfer-Encoding: chunked") + chunked(
        body, trailers=b"Authorization: Bearer other\r\nHost: evil.example\r\nX: 1\r\n"
    )
    assert ask(served.port, honest).status == 200
    assert "x" not in engine.seen[0].headers
    assert len(engine.seen) == 1


def test_blank_lines_before_a_request_are_skipped(served: RunningGateway) -> None:
    """RFC 9112 section 2.2, up to 16 bytes of them."""
    assert ask(served.port, b"\r\n\r\n" + request("GET", "/health")).status == 200


def test_a_body_of_get_is_dropped(served: RunningGateway) -> None:
    """And the next request on the connection is read from where it begins."""
    with RawClient(served.port) as client:
        assert client.ask(request("GET", "/health", body=b"GET /nope HTTP/1.1")).status == 200
        assert client.ask(request("GET", "/health")).status == 200


def test_a_large_body_of_get_is_refused(served: RunningGateway) -> None:
    """It is dropped within 64 kB only."""
    response = ask(served.port, request("GET", "/health", body=b"x" * (64 << 10) + b"x"))
    assert (response.status, response.code) == (413, "body_too_large")


def test_a_half_request_is_no_request(served: RunningGateway) -> None:
    """A client that leaves in the middle of a head leaves nothing behind."""
    before = served.records()
    RawClient(served.port).send(GET[:30]).close()
    assert ask(served.port, request("GET", "/health")).status == 200
    assert served.records() == before


def test_a_client_that_leaves_in_its_body_is_recorded(served: RunningGateway) -> None:
    """It was judged and had a key: 499 `client_closed`."""
    before = len(served.records())
    RawClient(served.port).send(chat()[:-5]).close()
    eventually(lambda: len(served.records()) > before)
    record = served.records()[-1]
    assert (record.status, record.error) == (499, "client_closed")
    assert record.route == CHAT
