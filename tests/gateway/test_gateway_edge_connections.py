"""How long a connection lives and what it answers in which order, on real sockets."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator

import pytest

from support.gateway import RunningGateway, gateway, target_at
from support.raw_client import CHAT, RawClient, ask, chat, chunked, eventually, request
from support.scripted_engine import (
    DONE,
    EngineSide,
    ScriptedEngine,
    answer_body,
    answering,
    event,
    sized,
    stream_of,
)

MB = 1 << 20
NO_KEY = request("GET", "/v1/models", key=None)


def test_a_connection_is_kept_alive(served: RunningGateway) -> None:
    """HTTP/1.1 keeps it unless somebody says otherwise."""
    with RawClient(served.port) as client:
        for _ in range(3):
            assert "connection" not in client.ask(request("GET", "/health")).headers


def test_connection_close_is_obeyed(served: RunningGateway, engine: ScriptedEngine) -> None:
    """With and without a body, whole and streamed."""
    for data in (request("GET", "/health", "Connection: close"), chat("Connection: Close")):
        with RawClient(served.port) as client:
            assert client.ask(data).headers["connection"] == "close"
            assert client.is_closed()
    engine.script = answering(stream_of("a"))
    with RawClient(served.port) as client:
        answer = client.ask(chat("Connection: close", stream=True))
        assert answer.headers["connection"] == "close"
        assert answer.body.endswith(DONE)
        assert client.is_closed()


def test_http_1_0_closes_unless_it_asks_to_stay(served: RunningGateway) -> None:
    """And hears that it may stay."""
    with RawClient(served.port) as client:
        response = client.ask(request("GET", "/health", version="1.0"))
        assert (response.status, response.headers["connection"]) == (200, "close")
        assert client.is_closed()
    with RawClient(served.port) as client:
        for _ in range(2):
            response = client.ask(
                request("GET", "/health", "Connection: keep-alive", version="1.0")
            )
            assert response.headers["connection"] == "keep-alive"


def test_http_1_0_may_omit_host_on_loopback(served: RunningGateway) -> None:
    """Nothing else may."""
    assert ask(served.port, request("GET", "/health", version="1.0", host=None)).status == 200


def test_a_stream_of_http_1_0_ends_with_the_connection(
    served: RunningGateway, engine: ScriptedEngine
) -> None:
    """It knows no chunks; even when it asked for keep-alive."""
    engine.script = answering(stream_of("a"))
    with RawClient(served.port) as client:
        response = client.ask(chat("Connection: keep-alive", stream=True, version="1.0"))
    assert "transfer-encoding" not in response.headers
    assert response.headers["connection"] == "close"
    assert response.body == event("a") + DONE


def test_head_is_get_without_its_body(served: RunningGateway) -> None:
    """The same length is told; of errors too; and the connection stays usable."""
    with RawClient(served.port) as client:
        body = client.ask(request("GET", "/v1/models")).body
        headers = client.ask(request("HEAD", "/v1/models"), bodiless=True).headers
        assert headers["content-length"] == str(len(body))
        refused = client.ask(request("HEAD", "/v1/models", key=None), bodiless=True)
        assert refused.status == 401
        assert client.ask(request("GET", "/health")).status == 200


def test_options_tells_the_methods(served: RunningGateway) -> None:
    """Without a key, with an answer that has no body, on a connection that stays."""
    with RawClient(served.port) as client:
        response = client.ask(request("OPTIONS", "/v1/models", key=None), bodiless=True)
        assert (response.status, response.headers["allow"]) == (204, "GET, HEAD, OPTIONS")
        assert not {"content-length", "content-type"} & response.headers.keys()
        response = client.ask(request("OPTIONS", CHAT), bodiless=True)
        assert (response.status, response.headers["allow"]) == (204, "POST, OPTIONS")
    assert ask(served.port, request("OPTIONS", "/nope")).status == 404


def test_another_method_is_405_and_names_the_right_ones(served: RunningGateway) -> None:
    """RFC 9110 section 15.5.6."""
    for method, path, allowed in (
        ("GET", CHAT, "POST, OPTIONS"),
        ("DELETE", "/v1/models", "GET, HEAD, OPTIONS"),
        ("HEAD", CHAT, "POST, OPTIONS"),
        ("POST", "/v1/models/m", "GET, HEAD, OPTIONS"),
    ):
        response = ask(served.port, request(method, path), bodiless=method == "HEAD")
        assert (response.status, response.headers["allow"]) == (405, allowed)


def test_every_answer_has_the_standing_headers(served: RunningGateway) -> None:
    """Good or bad: an id of its own, a date, no sniffing, no caching."""
    data = (request("GET", "/health"), NO_KEY, request("GET", "/nope"), b"nonsense\r\n\r\n")
    answers = [ask(served.port, each) for each in data]
    for answer in answers:
        assert answer.headers["date"].endswith(" GMT")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
    assert len({answer.headers["x-request-id"] for answer in answers}) == len(data)


# Expect: 100-continue.


def test_continue_is_said_after_the_guards_said_yes(
    served: RunningGateway, engine: ScriptedEngine
) -> None:
    """Then the body comes, then the answer."""
    head, end, body = chat("Expect: 100-continue").partition(b"\r\n\r\n")
    with RawClient(served.port) as client:
        client.send(head + end)
        assert client.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert client.ask(body).status == 200


@pytest.mark.parametrize(
    ("status", "lines", "key"),
    [
        (401, (), None),
        (413, ("Content-Length: 40000000",), ""),
        (415, ("Content-Type: text/plain", "Content-Length: 9"), ""),
        (415, ("Content-Encoding: pack200-gzip", "Content-Length: 9"), ""),
    ],
)
def test_no_body_is_asked_for_when_a_guard_says_no(
    served: RunningGateway, status: int, lines: tuple[str, ...], key: str | None
) -> None:
    """The error is the first thing the client hears, and the connection ends with it."""
    data = request("POST", CHAT, "Expect: 100-continue", *lines, key=key)
    data = data.replace(b"Bearer \r\n", chat().split(b"\r\n")[2][15:] + b"\r\n")
    with RawClient(served.port) as client:
        client.send(data if status != 401 else data[:-2] + b"Content-Length: 9\r\n\r\n")
        response = client.response()
        assert (response.status, response.headers["connection"]) == (status, "close")
        assert client.half_close().is_closed()


def test_other_expectations_fail(served: RunningGateway) -> None:
    """417: what is not understood is not waited for."""
    assert ask(served.port, chat("Expect: 200-ok")).status == 417


def test_http_1_0_is_told_no_100(served: RunningGateway, engine: ScriptedEngine) -> None:
    """It does not know interim answers (RFC 9110 section 10.1.1)."""
    head, end, body = chat("Expect: 100-continue", version="1.0").partition(b"\r\n\r\n")
    with RawClient(served.port) as client:
        client.send(head + end)
        assert client.ask(body).status == 200


# Pipelining.


def test_pipelined_gets_are_answered_in_order(served: RunningGateway) -> None:
    """Hundreds in one segment, refused ones among them."""
    data = [request("GET", "/health"), request("GET", "/nope"), NO_KEY] * 200
    with RawClient(served.port) as client:
        client.send(b"".join(data))
        statuses = [client.response().status for _ in data]
        assert statuses == [200, 404, 401] * 200
        assert client.ask(request("GET", "/health")).status == 200


def test_pipelined_posts_with_a_length_are_answered_in_order(
    served: RunningGateway, engine: ScriptedEngine
) -> None:
    """One exchange at a time: the engine sees them one after the other."""
    with RawClient(served.port) as client:
        client.send(b"".join(chat(text=f"number {n}") for n in range(20)))
        for _ in range(20):
            assert client.response().status == 200
    assert [f"number {n}" in seen.body.decode() for n, seen in enumerate(engine.seen)] == [
        True
    ] * 20


@pytest.mark.parametrize("cut", [1, 3, 20, 60])
def test_a_second_request_that_is_cut_anywhere_is_still_answered(
    served: RunningGateway, engine: ScriptedEngine, cut: int
) -> None:
    """Its first bytes came with the first request, the rest later."""
    second = request("GET", "/health")
    for first in (chat(), request("GET", "/v1/models")):
        with RawClient(served.port) as client:
            client.send(first + second[:cut])
            assert client.response().status == 200
            assert client.ask(second[cut:]).body == b'{"status":"ok"}'


def test_what_comes_behind_a_chunked_body_is_left_unanswered(
    served: RunningGateway, engine: ScriptedEngine
) -> None:
    """The parser does not tell where a chunked body ends: the first answer says close."""
    body = chat().partition(b"\r\n\r\n")[2]
    first = request("POST", CHAT, "Transfer-Encoding: chunked") + chunked(body)
    for cut in (1, 4, 40, -1):
        with RawClient(served.port) as client:
            response = client.ask(first + request("GET", "/health")[:cut])
            assert (response.status, response.headers["connection"]) == (200, "close")
            assert client.is_closed()
    assert ask(served.port, first).headers.get("connection") is None


def test_a_chunked_body_cut_at_its_end_keeps_the_connection(
    served: RunningGateway, engine: ScriptedEngine
) -> None:
    """Wherever the cut is within its last bytes."""
    body = chat().partition(b"\r\n\r\n")[2]
    whole = request("POST", CHAT, "Transfer-Encoding: chunked") + chunked(body)
    with RawClient(served.port) as client:
        for cut in range(1, 9):
            client.send(whole[:-cut])
            assert client.ask(whole[-cut:]).headers.get("connection") is None


def test_a_request_that_comes_early_waits_for_the_first_answer(
    served: RunningGateway, engine: ScriptedEngine
) -> None:
    """While an engine thinks, reading stays on: what comes is held, unparsed."""

    may_answer = threading.Event()

    def script(side: EngineSide) -> None:
        while side.request() is not None:
            assert may_answer.wait(10)
            side.send(sized(answer_body()))

    engine.script = script
    with RawClient(served.port) as client:
        client.send(chat())
        eventually(lambda: engine.seen)
        client.send(request("GET", "/health"))
        may_answer.set()
        assert client.response().json()["object"] == "chat.completion"
        assert client.response().json() == {"status": "ok"}


def test_more_than_64_kb_in_advance_closes_the_connection(
    served: RunningGateway, engine: ScriptedEngine
) -> None:
    """And the engine's work for it is ended; the record says so."""
    engine.script = lambda side: (side.request(), side.is_left(), None)[2]
    before = len(served.records())
    with RawClient(served.port) as client:
        client.send(chat())
        eventually(lambda: engine.seen)
        client.send_until_refused([b"x" * 4096] * 32).join(10)
        assert client.is_closed()
    eventually(lambda: len(served.records()) > before)
    assert served.records()[-1].error == "client_closed"


def test_more_than_64_kb_behind_one_request_closes_the_connection(served: RunningGateway) -> None:
    """Also when it all comes in one piece."""
    with RawClient(served.port) as client:
        client.send_until_refused([request("GET", "/v1/models") * 4000]).join(10)
        received = client.rest()
    assert received.count(b"HTTP/1.1 200 OK") < 4000


def test_a_client_that_takes_no_answers_is_asked_no_more(
    served: RunningGateway, engine: ScriptedEngine
) -> None:
    """Pipelined requests wait while an answer waits to be taken: unsent answers do not pile up."""
    text = "x" * (8 * MB)
    engine.script = answering(sized(answer_body(text)))
    with RawClient(served.port) as client:
        for _ in range(6):
            client.send(chat())
            assert ask(served.port, chat(model="nope")).status == 404
        assert ask(served.port, chat()).status == 200
        assert len(engine.seen) <= 4
        for _ in range(6):
            assert len(client.response().body) > 8 * MB
    assert len(engine.seen) == 7


# Errors while the client still sends.


def pieces(size: int, piece: int = 64 << 10) -> Iterator[bytes]:
    return itertools.repeat(b"x" * piece, size // piece)


@pytest.mark.parametrize(
    ("status", "data"),
    [
        (401, request("POST", CHAT, f"Content-Length: {32 * MB}", key=None)),
        (404, request("POST", "/nope", f"Content-Length: {32 * MB}")),
        (413, request("POST", CHAT, f"Content-Length: {32 * MB + 1}")),
    ],
    ids=["no key", "no route", "too large"],
)
def test_an_error_reaches_a_client_that_still_sends(
    served: RunningGateway, status: int, data: bytes
) -> None:
    """32 MB are on their way: they are read and dropped so that no RST eats the answer."""
    with RawClient(served.port) as client:
        client.send(data)
        sending = client.send_until_refused(pieces(32 * MB))
        assert client.response().status == status
        sending.join(10)
        assert client.is_closed()


def test_a_chunked_body_over_32_mb_is_refused(served: RunningGateway) -> None:
    """By its payload, whatever was announced."""
    piece = b"%x\r\n" % MB + b"x" * MB + b"\r\n"
    with RawClient(served.port) as client:
        client.send(request("POST", CHAT, "Transfer-Encoding: chunked"))
        client.send_until_refused(itertools.repeat(piece, 40))
        response = client.response()
    assert (response.status, response.code) == (413, "body_too_large")
    assert "32 MiB" in response.message


def test_a_body_of_just_32_mb_is_taken(served: RunningGateway, engine: ScriptedEngine) -> None:
    """The bound is what it says."""
    empty = len(chat(text="").partition(b"\r\n\r\n")[2])
    whole = chat(text="x" * (32 * MB - empty))
    assert b"Content-Length: 33554432\r\n" in whole[:300]
    assert ask(served.port, whole).status == 200
    assert len(json.loads(engine.seen[0].body)["messages"][0]["content"]) == 32 * MB - empty


def test_a_head_of_100_mb_is_refused_at_64_kb(served: RunningGateway) -> None:
    """The parser would buffer it at quadratic cost; it is never fed."""
    with RawClient(served.port) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ")
        client.send_until_refused(pieces(100 * MB))
        assert client.response().status == 431


def test_50_mb_of_chunk_extensions_are_refused(served: RunningGateway) -> None:
    """The framing is bounded against the payload it carries."""
    with RawClient(served.port) as client:
        client.send(request("POST", CHAT, "Transfer-Encoding: chunked") + b"2;x=")
        client.send_until_refused(pieces(50 * MB))
        response = client.response()
    assert (response.status, response.code) == (413, "body_too_large")


def test_megabytes_of_trailers_are_refused(served: RunningGateway) -> None:
    """They are framing too."""
    body = chat().partition(b"\r\n\r\n")[2]
    with RawClient(served.port) as client:
        client.send(request("POST", CHAT, "Transfer-Encoding: chunked"))
        client.send(b"%x\r\n%b\r\n0\r\n" % (len(body), body))
        client.send_until_refused([b"X-%d: y\r\n" % n * 100 for n in range(1000)])
        assert client.response().status == 413


def test_one_byte_chunks_are_refused_before_they_cost(served: RunningGateway) -> None:
    """Six bytes of framing for one of payload."""
    with RawClient(served.port) as client:
        client.send(request("POST", CHAT, "Transfer-Encoding: chunked"))
        client.send_until_refused([b"1\r\nx\r\n" * 1000] * 100)
        assert client.response().status == 413


def test_linger_ends_after_64_mb(served: RunningGateway) -> None:
    """An error is worth so much patience and no more."""
    with RawClient(served.port) as client:
        client.send(request("POST", CHAT, f"Content-Length: {200 * MB}"))
        sending = client.send_until_refused(pieces(200 * MB, MB))
        assert client.response().status == 413
        sending.join(10)
        assert not sending.is_alive()


def test_an_answer_is_cut_into_no_other(served: RunningGateway, engine: ScriptedEngine) -> None:
    """A stream and a request behind it: the stream's end comes first."""
    engine.script = answering(stream_of("a"))
    with RawClient(served.port) as client:
        client.send(chat(stream=True) + request("GET", "/health"))
        assert client.response().body == event("a") + DONE
        assert client.response().json() == {"status": "ok"}


def test_half_a_thousand_connections_at_once(served: RunningGateway) -> None:
    """Loopback may have 4,096."""
    clients = [RawClient(served.port) for _ in range(500)]
    for client in clients:
        client.send(request("GET", "/health"))
    assert {client.response().status for client in clients} == {200}
    for client in clients:
        client.close()


def test_a_cut_off_gateway_has_nothing_open(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Connections that ended are counted as ended."""
    with (
        ScriptedEngine(lambda side: None) as engine,
        gateway(tmp_path_factory.mktemp("journal"), target_at(engine.port)) as running,
    ):
        clients = [RawClient(running.port) for _ in range(20)]
        for client in clients:
            client.ask(request("GET", "/health"))
        running.stats(lambda stats: stats.connections == 20)
        for client in clients:
            client.close()
        running.stats(lambda stats: stats.served == 20 and stats.connections == 0)
