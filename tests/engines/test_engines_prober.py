"""The prober asks real sockets and never raises for what they do."""

from __future__ import annotations

import gzip
import socket
import threading

import pytest

from flm.domain.engines import Address
from flm.engines.prober import HttpProber
from flm.ports.clock import SystemClock
from flm.ports.engines import NO_ANSWER
from support.replay import Answer, ReplayServer, response


@pytest.fixture
def prober() -> HttpProber:
    """The real one with the machine's clock."""
    return HttpProber(SystemClock())


async def test_a_body_and_its_fields_come_back(prober: HttpProber) -> None:
    """Status, fields in lower case and the body are what was sent."""
    answer = response('{"a":1}', headers={"X-Thing": "yes"})
    with ReplayServer({("GET", "/x"): answer}) as server:
        probe = await prober.get(server.address, "/x")
    assert (probe.status, probe.body, probe.headers["x-thing"]) == (200, b'{"a":1}', "yes")
    assert probe.error == ""
    assert probe.latency_ms > 0


async def test_host_is_the_engines_authority_and_no_credentials_go_out(
    prober: HttpProber,
) -> None:
    """What arrives is bare: Host names the engine, and nothing of FLM's is in it."""
    with ReplayServer({("GET", "/x"): response("{}")}) as server:
        await prober.get(server.address, "/x")
    (seen,) = server.seen
    assert seen.headers["host"] == f"127.0.0.1:{server.port}"
    assert {"authorization", "cookie"} & set(seen.headers) == set()
    assert seen.headers["accept-encoding"] == "identity"


async def test_the_engines_own_key_goes_as_a_bearer_token(prober: HttpProber) -> None:
    """A key is sent where one is given."""
    with ReplayServer({("GET", "/x"): response("{}")}) as server:
        await prober.get(server.address, "/x", key="sesame")
    assert server.seen[0].headers["authorization"] == "Bearer sesame"


async def test_a_post_carries_json(prober: HttpProber) -> None:
    """POST sends the bytes it was given as JSON."""
    with ReplayServer({("POST", "/x"): response("{}")}) as server:
        probe = await prober.post(server.address, "/x", b'{"model":"m"}')
    assert probe.status == 200
    assert server.seen[0].body == b'{"model":"m"}'
    assert server.seen[0].headers["content-type"] == "application/json"


async def test_a_prefix_stands_before_the_path(prober: HttpProber) -> None:
    """An engine behind a path is asked below it."""
    with ReplayServer({("GET", "/deep/x"): response("{}")}) as server:
        probe = await prober.get(Address("127.0.0.1", server.port, "/deep"), "/x")
    assert probe.status == 200


async def test_ipv6_loopback_is_asked_too(prober: HttpProber) -> None:
    """[::1] is an address like any other."""
    with ReplayServer({("GET", "/x"): response("{}")}, host="::1") as server:
        probe = await prober.get(server.address, "/x")
    assert probe.status == 200
    assert server.seen[0].headers["host"] == f"[::1]:{server.port}"


async def test_a_proxy_in_the_environment_is_not_used(
    prober: HttpProber, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loopback never goes through a company's proxy."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with ReplayServer({("GET", "/x"): response("{}")}) as server:
        probe = await prober.get(server.address, "/x")
    assert probe.status == 200


async def test_a_redirect_is_an_answer_and_is_not_followed(prober: HttpProber) -> None:
    """An engine cannot send the question anywhere else."""
    moved = response("", "302 Found", headers={"Location": "/y"})
    with ReplayServer({("GET", "/x"): moved, ("GET", "/y"): response("{}")}) as server:
        probe = await prober.get(server.address, "/x")
    assert probe.status == 302
    assert [seen.path for seen in server.seen] == ["/x"]


async def test_only_so_many_bytes_are_read(prober: HttpProber) -> None:
    """A body without end costs no memory."""
    with ReplayServer({("GET", "/x"): response(b"a" * 200_000)}) as server:
        probe = await prober.get(server.address, "/x")
        short = await prober.get(server.address, "/x", limit=10)
    assert len(probe.body) == 65_536
    assert short.body == b"a" * 10


async def test_a_compressed_body_is_not_unpacked(prober: HttpProber) -> None:
    """What was asked for plain and comes packed stays packed: no bomb goes off."""
    packed = response(gzip.compress(b"x" * 1_000_000), headers={"Content-Encoding": "gzip"})
    with ReplayServer({("GET", "/x"): packed}) as server:
        probe = await prober.get(server.address, "/x")
    assert len(probe.body) < 2_000


async def test_a_refused_connection_is_said_in_words(prober: HttpProber) -> None:
    """Nothing listens: status 0 and the reason."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        probe = await prober.get(Address("127.0.0.1", port), "/x")
    assert (probe.status, probe.error) == (0, "connection refused")


async def test_silence_ends_with_the_deadline(prober: HttpProber) -> None:
    """A server that accepts and says nothing is no answer in time."""
    never = threading.Event()
    with ReplayServer({("GET", "/x"): Answer(response("{}"), hold=never)}) as server:
        probe = await prober.get(server.address, "/x", seconds=0.05)
    assert (probe.status, probe.error) == (0, NO_ANSWER)


async def test_a_body_that_never_ends_ends_with_the_deadline(prober: HttpProber) -> None:
    """The deadline counts to the end of the body, not to the first byte."""
    data = response(b"a" * 1000)
    stuck = Answer(data, hold_at=len(data) - 500, resume=threading.Event())
    with ReplayServer({("GET", "/x"): stuck}) as server:
        probe = await prober.get(server.address, "/x", seconds=0.05)
    assert (probe.status, probe.error) == (0, NO_ANSWER)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"SSH-2.0-OpenSSH_9\r\n",
        b"\x00" * 64,
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"x" * 70_000,
    ],
)
async def test_what_is_no_http_is_no_answer(prober: HttpProber, data: bytes) -> None:
    """Other protocols, rubbish and endless heads are status 0 with a reason."""
    with ReplayServer({("GET", "/x"): Answer(data, close=True)}) as server:
        probe = await prober.get(server.address, "/x")
    assert probe.status == 0
    assert probe.error in ("no whole HTTP answer", "closed the connection without an answer")


async def test_a_body_cut_short_is_no_answer(prober: HttpProber) -> None:
    """Half a body never looks whole."""
    data = response('{"models":[]}')
    with ReplayServer({("GET", "/x"): Answer(data, cut=len(data) - 3)}) as server:
        probe = await prober.get(server.address, "/x")
    assert (probe.status, probe.error) == (0, "no whole HTTP answer")


async def test_a_key_that_fits_into_no_header_is_no_answer(prober: HttpProber) -> None:
    """A key with a line break never reaches the wire."""
    with ReplayServer({("GET", "/x"): response("{}")}) as server:
        probe = await prober.get(server.address, "/x", key="a\r\nX-Evil: 1")
    assert probe.status == 0
    assert server.seen == []
