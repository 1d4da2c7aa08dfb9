"""Engines over TLS: who they are is verified, and they behave like all others."""

from __future__ import annotations

import json
import shutil
import ssl
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

from flm.wire.snapshot import Rules, Target
from support.certificates import DAY, Authority
from support.gateway import RunningGateway, gateway, routes_section, target_at
from support.raw_client import RawClient, ask, chat, eventually, request
from support.scripted_engine import (
    DONE,
    LAST_CHUNK,
    STREAM_HEAD,
    EngineSide,
    ScriptedEngine,
    answer_body,
    answering,
    as_chunk,
    event,
    sized,
    stream_of,
)
from support.secure_engine import SecureEngine, SecureSide

GOOD = sized(answer_body())
UNFRAMED = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
NAME = "box.example"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority that no system knows."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def module_engine(authority: Authority) -> Iterator[SecureEngine]:
    """The engine of this file, with a certificate for `NAME`."""
    with SecureEngine(answering(GOOD), authority.server(NAME)) as engine:
        yield engine


def at(engine: ScriptedEngine, authority: Authority, name: str = NAME) -> Target:
    """A target on that engine, which `name` leads to."""
    plain = target_at(engine.port, tls=True, ca_file=str(authority.ca_file), remote=True)
    return msgspec.structs.replace(plain, name=name)


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def served(
    request: pytest.FixtureRequest,
    module_engine: SecureEngine,
    authority: Authority,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[RunningGateway]:
    """The gateway of this file, on either event loop."""
    blocked = tmp_path_factory.mktemp("modules")
    (blocked / "uvloop.py").write_text("raise ImportError('no uvloop here')\n")
    environment = {"PYTHONPATH": str(blocked)} if request.param == "asyncio" else {}
    with gateway(
        tmp_path_factory.mktemp("journal"),
        at(module_engine, authority),
        environment=environment,
    ) as running:
        yield running


@pytest.fixture
def engine(module_engine: SecureEngine) -> SecureEngine:
    """The file's engine, as if nothing had been asked of it."""
    module_engine.script = answering(GOOD)
    module_engine.seen.clear()
    return module_engine


def scripted(script: Callable[[SecureSide], None]) -> Callable[[EngineSide], None]:
    """A script that needs TLS."""

    def run(side: EngineSide) -> None:
        assert isinstance(side, SecureSide)
        script(side)

    return run


def test_an_engine_over_tls_answers(served: RunningGateway, engine: SecureEngine) -> None:
    """Verified by its name, which it is asked for in SNI and `Host`; HTTP/1.1 over TLS 1.3."""
    engine.names.clear()
    engine.protocols.clear()
    engine.hang_up()
    eventually(lambda: not engine.protocols)
    response = ask(served.port, chat())
    assert (response.status, response.body) == (200, answer_body())
    assert engine.names[-1] == NAME
    assert engine.protocols[-1] == ("TLSv1.3", "http/1.1")
    assert engine.seen[-1].headers["host"] == f"{NAME}:{engine.port}"
    assert "client.example" not in str(engine.seen[-1].headers)


def test_a_stream_over_tls_arrives_as_it_was_sent(
    served: RunningGateway, engine: SecureEngine
) -> None:
    """Whole events as they come, and the end mark."""
    engine.script = answering(stream_of("心", "b"))
    assert ask(served.port, chat(stream=True)).body == event("心") + event("b") + DONE


def test_a_large_body_over_tls_arrives_as_it_was_sent(
    served: RunningGateway, engine: SecureEngine
) -> None:
    """In pieces, a picture among them, and the connection serves the next one."""
    url = "data:image/png;base64," + "iVBORw0KGgoA" * 500_000
    picture = [{"type": "image_url", "image_url": {"url": url}}]
    large = [chat(text="語 " * 1_000_000), chat(messages=[{"role": "user", "content": picture}])]
    before = engine.connections
    assert [ask(served.port, each).status for each in large] == [200, 200]
    assert engine.connections - before <= 1
    for seen, sent in zip(engine.seen, large, strict=True):
        assert json.loads(seen.body) == json.loads(sent.partition(b"\r\n\r\n")[2])


def test_a_connection_over_tls_serves_many_requests(tmp_path: Path, authority: Authority) -> None:
    """One handshake."""
    with (
        SecureEngine(answering(GOOD), authority.server(NAME)) as engine,
        gateway(tmp_path, at(engine, authority)) as running,
        RawClient(running.port) as client,
    ):
        assert [client.ask(chat()).status for _ in range(20)] == [200] * 20
        assert engine.connections == 1


@pytest.mark.parametrize("goodbye", [True, False])
def test_a_reused_connection_that_ended_is_tried_once_more(
    served: RunningGateway, engine: SecureEngine, goodbye: bool
) -> None:
    """With its goodbye or without."""

    def once(side: SecureSide) -> None:
        side.request()
        side.send(GOOD)
        if goodbye:
            side.goodbye()

    engine.script = scripted(once)
    assert [ask(served.port, chat()).status for _ in range(5)] == [200] * 5


@pytest.mark.parametrize("goodbye", [True, False])
def test_only_a_goodbye_ends_a_body_without_length(
    served: RunningGateway, engine: SecureEngine, goodbye: bool
) -> None:
    """Anybody on the way can end a TCP connection: without the engine's word it is cut."""

    def answer(side: SecureSide) -> None:
        side.request()
        side.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + answer_body())
        if goodbye:
            side.goodbye()

    engine.script = scripted(answer)
    response = ask(served.port, chat())
    assert (response.status, b"hello" in response.body) == (
        (200, True) if goodbye else (502, False)
    )


CUT = {
    "sized": GOOD[:-5],
    "in chunks": STREAM_HEAD + as_chunk(event("a")),
    "to the end": UNFRAMED + event("a"),
}


@pytest.mark.parametrize("goodbye", [True, False])
@pytest.mark.parametrize("said", CUT.values(), ids=CUT)
def test_an_answer_that_is_cut_never_looks_whole(
    served: RunningGateway, engine: SecureEngine, said: bytes, goodbye: bool
) -> None:
    """However it is framed, and whatever ends the connection."""

    def answer(side: SecureSide) -> None:
        side.request()
        side.send(said)
        if goodbye:
            side.goodbye()

    engine.script = scripted(answer)
    response = ask(served.port, chat(stream=True))
    assert response.status == 502 or b"stream_interrupted" in response.body
    assert DONE not in response.body


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_ends_the_engine_s_work(
    served: RunningGateway, engine: SecureEngine, stream: bool
) -> None:
    """At once, and the record says so."""
    asked, left = threading.Event(), threading.Event()

    def work(side: SecureSide) -> None:
        side.request()
        side.send(STREAM_HEAD + as_chunk(event("one")) if stream else GOOD[:-5])
        asked.set()
        if side.is_left():
            left.set()

    engine.script = scripted(work)
    before = len(served.records())
    client = RawClient(served.port)
    client.send(chat(stream=stream))
    assert asked.wait(10)
    client.close()
    assert left.wait(10)
    eventually(lambda: len(served.records()) > before)
    assert served.records()[before].error == "client_closed"


def test_a_client_that_does_not_read_slows_its_engine(
    served: RunningGateway, engine: SecureEngine
) -> None:
    """Memory stays where it was, and everything arrives in the end."""
    piece = as_chunk(event("x" * 60_000))
    engine.script = answering(STREAM_HEAD + piece * 1000 + as_chunk(DONE) + LAST_CHUNK)
    process = psutil.Process(served.process.pid)
    before = process.memory_info().rss
    with RawClient(served.port, receive_buffer=4096) as client:
        client.send(chat(stream=True))
        client.head()
        assert ask(served.port, request("GET", "/health")).status == 200
        assert process.memory_info().rss < before + (12 << 20)
        body = b"".join(iter(client.chunk, b""))
    assert body.count(b"data: ") == 1002
    assert process.memory_info().rss < before + (12 << 20)


@pytest.mark.parametrize("pieces", range(15, 45, 2))
def test_what_a_slow_client_has_not_taken_survives_the_engine_s_end(
    served: RunningGateway, engine: SecureEngine, pieces: int
) -> None:
    """The engine says the rest and hangs up while nothing is read from it, wherever it is."""
    hung_up = threading.Event()

    def answer(side: SecureSide) -> None:
        side.request()
        side.send(STREAM_HEAD + as_chunk(event("x" * 100_000)) * pieces + as_chunk(DONE))
        side.send(LAST_CHUNK)
        side.fin()
        hung_up.set()

    engine.script = scripted(answer)
    with RawClient(served.port, receive_buffer=2048) as client:
        client.send(chat(stream=True))
        client.head()
        hung_up.wait(0.1)
        assert ask(served.port, request("GET", "/health")).status == 200
        body = b"".join(iter(client.chunk, b""))
    assert body.count(b"data: ") == pieces + 2
    assert body.endswith(DONE)


# Who it is.


def refused(
    folder: Path, context: ssl.SSLContext, authority: Authority, name: str = NAME
) -> tuple[str, str, list[str]]:
    """The code a client gets, the gateway's log, and what the engine heard."""
    with (
        SecureEngine(answering(GOOD), context) as engine,
        gateway(folder, at(engine, authority, name)) as running,
    ):
        responses = [ask(running.port, chat()) for _ in range(3)]
        assert {response.status for response in responses} == {502}
        assert engine.seen == []
        eventually(lambda: len(engine.refused) == 3)
        assert {record.error for record in running.records()} == {responses[0].code}
        if responses[0].code == "engine_certificate_invalid":
            assert responses[0].headers["x-should-retry"] == "false"
            assert "certificate" in responses[0].message
        return responses[0].code, running.log(), engine.refused


def test_a_certificate_for_another_name_is_refused(tmp_path: Path, authority: Authority) -> None:
    """The log says why, once; nothing was sent to the engine."""
    code, log, _ = refused(tmp_path, authority.server("other.example"), authority)
    assert code == "engine_certificate_invalid"
    assert log.count("Hostname mismatch, certificate is not valid for 'box.example'") == 1


def test_an_expired_certificate_is_refused(tmp_path: Path, authority: Authority) -> None:
    """Since yesterday."""
    context = authority.server(NAME, begins=-2 * DAY, ends=-DAY)
    code, log, _ = refused(tmp_path, context, authority)
    assert (code, log.count("certificate has expired")) == ("engine_certificate_invalid", 1)


def test_a_certificate_of_an_unknown_authority_is_refused(
    tmp_path: Path, authority: Authority
) -> None:
    """Its name and its dates are right."""
    other = Authority(tmp_path, "other")
    code, log, _ = refused(tmp_path / "journal", other.server(NAME), authority)
    assert code == "engine_certificate_invalid"
    assert "unable to get local issuer certificate" in log


def test_the_system_s_authorities_count_without_a_file(
    tmp_path: Path, authority: Authority
) -> None:
    """And none of them has signed this one."""
    with (
        SecureEngine(answering(GOOD), authority.server(NAME)) as engine,
        gateway(tmp_path, msgspec.structs.replace(at(engine, authority), ca_file="")) as running,
    ):
        assert ask(running.port, chat()).code == "engine_certificate_invalid"


def test_an_address_is_verified_as_an_address(tmp_path: Path, authority: Authority) -> None:
    """`https://192.168.1.9` needs a certificate for that address; there is no SNI then."""
    with (
        SecureEngine(answering(GOOD), authority.server("127.0.0.1")) as engine,
        gateway(tmp_path, at(engine, authority, "")) as running,
    ):
        assert ask(running.port, chat()).status == 200
        assert engine.names == [None]
        assert engine.seen[0].headers["host"] == f"127.0.0.1:{engine.port}"
    code, _, _ = refused(tmp_path / "other", authority.server("127.0.0.2"), authority, "")
    assert code == "engine_certificate_invalid"


def test_an_old_tls_is_refused(tmp_path: Path, authority: Authority) -> None:
    """1.1 is not enough: it cannot be agreed on."""
    context = authority.server(NAME)
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    code, log, heard = refused(tmp_path, context, authority)
    assert code == "engine_unreachable"
    assert heard == ["UNSUPPORTED_PROTOCOL"] * 3
    assert "engine box.example: no TLS: " in log


def test_what_speaks_no_tls_is_unreachable(tmp_path: Path, authority: Authority) -> None:
    """A plain HTTP server at an https:// address."""

    def plain(side: EngineSide) -> None:
        side.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with ScriptedEngine(plain) as engine, gateway(tmp_path, at(engine, authority)) as running:
        response = ask(running.port, chat())
        assert (response.status, response.code) == (502, "engine_unreachable")


def test_a_handshake_that_does_not_end_is_a_504(tmp_path: Path, authority: Authority) -> None:
    """The deadline of the connection covers it, and the engine's side is closed then."""
    left = threading.Event()

    def silent(side: EngineSide) -> None:
        while not side.is_left():
            pass
        left.set()

    rules = Rules(revision=1, connect_seconds=0.3)
    with (
        ScriptedEngine(silent) as engine,
        gateway(tmp_path, at(engine, authority), rules=rules) as running,
    ):
        response = ask(running.port, chat())
        assert (response.status, response.code) == (504, "engine_unreachable")
        assert left.wait(5)


def test_a_client_that_leaves_during_the_handshake_ends_it(
    tmp_path: Path, authority: Authority
) -> None:
    """Nothing stays open for nobody."""
    greeted, left = threading.Event(), threading.Event()

    def silent(side: EngineSide) -> None:
        greeted.set()
        while not side.is_left():
            pass
        left.set()

    with (
        ScriptedEngine(silent) as engine,
        gateway(tmp_path, at(engine, authority)) as running,
    ):
        client = RawClient(running.port).send(chat())
        assert greeted.wait(5)
        client.close()
        assert left.wait(4)
        eventually(lambda: [each.error for each in running.records()] == ["client_closed"])


def test_a_renewed_authority_needs_no_restart(tmp_path: Path, authority: Authority) -> None:
    """The file is read again when it has changed and a certificate was refused."""
    renewed = Authority(tmp_path, "renewed")
    ca_file = tmp_path / "current.pem"
    shutil.copy(authority.ca_file, ca_file)
    with (
        SecureEngine(answering(GOOD), renewed.server(NAME)) as engine,
        gateway(
            tmp_path / "journal",
            msgspec.structs.replace(at(engine, authority), ca_file=str(ca_file)),
        ) as running,
    ):
        assert ask(running.port, chat()).code == "engine_certificate_invalid"
        shutil.copy(renewed.ca_file, ca_file)
        assert ask(running.port, chat()).code == "engine_certificate_invalid"
        assert ask(running.port, chat()).status == 200


def test_a_ca_file_that_is_gone_is_said(tmp_path: Path, authority: Authority) -> None:
    """No engine is asked; when the file is there, it counts."""
    ca_file = tmp_path / "gone.pem"
    with (
        SecureEngine(answering(GOOD), authority.server(NAME)) as engine,
        gateway(
            tmp_path / "journal",
            msgspec.structs.replace(at(engine, authority), ca_file=str(ca_file)),
        ) as running,
    ):
        assert ask(running.port, chat()).code == "engine_certificate_invalid"
        assert engine.connections == 0
        assert "gone.pem cannot be read" in running.log()
        shutil.copy(authority.ca_file, ca_file)
        assert ask(running.port, chat()).status == 200


def test_a_name_that_leads_elsewhere_is_followed(tmp_path: Path, authority: Authority) -> None:
    """By a delta: what is idle there is closed, what comes goes to the new address."""
    with (
        SecureEngine(answering(GOOD), authority.server(NAME)) as one,
        SecureEngine(answering(GOOD), authority.server(NAME)) as other,
        gateway(tmp_path, at(one, authority)) as running,
    ):
        assert ask(running.port, chat()).status == 200
        running.delta(routes=routes_section(at(other, authority), revision=2))
        assert ask(running.port, chat()).status == 200
        assert (len(one.seen), len(other.seen)) == (1, 1)


def test_one_address_under_two_names_shares_no_connection(
    tmp_path: Path, authority: Authority
) -> None:
    """Each is verified by its own name."""
    with SecureEngine(answering(GOOD), authority.server(NAME, "b.example")) as engine:
        other = msgspec.structs.replace(
            at(engine, authority, "b.example"), id="f/n", engine="f", model="n"
        )
        with gateway(tmp_path, at(engine, authority), other) as running:
            assert ask(running.port, chat()).status == 200
            assert ask(running.port, chat(model="n")).status == 200
            assert engine.names == [NAME, "b.example"]
            assert engine.connections == 2


@pytest.mark.parametrize("stream", [False, True])
def test_a_redirect_is_not_followed(
    served: RunningGateway, engine: SecureEngine, stream: bool
) -> None:
    """The client hears that it leads elsewhere; where, only the owner: `flm engines list`."""
    engine.script = answering(
        sized(b"", "307 Temporary Redirect", "Location: https://other.example/v1?token=secret")
    )
    response = ask(served.port, chat(stream=stream))
    assert (response.status, response.code) == (502, "engine_redirects")
    assert "other.example" not in response.message
    assert "secret" not in response.message
