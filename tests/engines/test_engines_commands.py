"""Commands to engines: what is read of an answer, and what goes wrong on the way."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from pathlib import Path

import pytest
from test_engines_prober_tls import certificate

from flm.domain.engines import Address
from flm.domain.models import Model
from flm.engines.commands import Commands, Reply, fault_in
from flm.engines.wishes import capable, wished
from flm.errors import UserError
from flm.ports.engines import Wishes
from support.replay import Answer, ReplayServer, response
from support.replay import Reply as Route


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b'{"error":"no"}', "no"),
        (b'{"error":{"message":"no","code":7}}', "no"),
        (b'{"detail":"no"}', "no"),
        (b'{"error":null}', ""),
        (b'{"detail":[{"msg":"no"}]}', ""),
        (b'{"status":"success"}', ""),
        (b"", ""),
        (b"[" * 100_000, ""),
        (b'{"error":"%b"}' % (b"x" * 9000), "x" * 500),
    ],
)
def test_an_error_is_found_in_whatever_shape(body: bytes, fault: str) -> None:
    """Text or object; what is too long is cut, what is none says nothing."""
    assert fault_in(body) == fault


def test_a_refusal_without_words_tells_its_status() -> None:
    """And a page in place of JSON its beginning."""
    assert Reply(500, b"").fault == "HTTP 500"
    assert Reply(502, b" <h1>Bad Gateway</h1> ").fault == "<h1>Bad Gateway</h1>"
    assert Reply(200, b"anything").fault == ""


async def test_an_answer_without_an_end_is_cut(tmp_path: Path) -> None:
    """An engine that sends and sends is left after a mebibyte."""
    routes: dict[tuple[str, str], Route] = {("GET", "/x"): response(b"x" * (3 << 20))}
    with ReplayServer(routes) as server:
        reply = await Commands().send("GET", server.address, "/x")
    assert len(reply.body) == 1 << 20


async def test_silence_ends_with_an_error() -> None:
    """The deadline is for silence, not for the whole answer."""
    stuck = Answer(b"", hold=threading.Event())
    with ReplayServer({("GET", "/x"): stuck}) as server, pytest.raises(UserError) as caught:
        await Commands().send("GET", server.address, "/x", seconds=0.1)
    assert caught.value.code == "engine_unreachable"
    assert caught.value.message == f"The engine at {server.url} says nothing any more."


async def test_a_line_beyond_all_bounds_ends_with_an_error() -> None:
    """An engine's line is not kept however long it gets."""
    routes: dict[tuple[str, str], Route] = {("POST", "/x"): response(b"x" * (1 << 20))}
    with ReplayServer(routes) as server, pytest.raises(UserError) as caught:
        async with contextlib.aclosing(Commands().lines("POST", server.address, "/x")) as lines:
            async for _ in lines:
                pass
    assert caught.value.code == "engine_unreachable"


async def test_a_redirect_is_no_success_and_is_not_followed() -> None:
    """A command goes where the user said, nowhere else."""
    routes: dict[tuple[str, str], Route] = {
        ("DELETE", "/x"): response("", "307 Temporary Redirect", headers={"Location": "/y"}),
        ("DELETE", "/y"): response("{}"),
    }
    with ReplayServer(routes) as server:
        reply = await Commands().send("DELETE", server.address, "/x")
    assert (reply.status, [seen.path for seen in server.seen]) == (307, ["/x"])


async def test_a_key_that_fits_into_no_header_is_an_error_and_no_second_header() -> None:
    """Line breaks in it end the attempt."""
    with ReplayServer({}) as server, pytest.raises(UserError):
        await Commands().send("GET", server.address, "/x", key="a\r\nX-Evil: 1")
    assert server.seen == []


async def test_a_certificate_file_that_is_none_is_an_error(tmp_path: Path) -> None:
    """It is read when it is needed."""
    missing = Address("127.0.0.1", 9, tls=True, ca_file=str(tmp_path / "none.pem"))
    with pytest.raises(UserError) as caught:
        await Commands().send("GET", missing, "/x")
    assert caught.value.code == "engine_unreachable"


def test_what_is_set_for_a_model_comes_before_what_is_set_for_the_engine() -> None:
    """The first of its names that is set counts; '' is the whole engine."""
    assert wished({"a": 1, "": 2}, "a") == 1
    assert wished({"a": 1, "": 2}, "b", "a") == 1
    assert wished({"": 2}, "b") == 2
    assert wished({}, "b") is None


def test_capabilities_may_be_set_by_either_name_and_may_be_none() -> None:
    """The engine's own name is as good; nothing set leaves the model as it is."""
    model = Model(name="tiny", engine_name="/m/tiny.gguf", engine="x", capabilities=("chat",))  # type: ignore[arg-type] # an id
    assert capable([model], Wishes())[0] is model
    by_path = capable([model], Wishes(capabilities={"/m/tiny.gguf": ("chat", "tools")}))
    assert by_path[0].capabilities == ("chat", "tools")
    assert capable([model], Wishes(capabilities={"tiny": ()}))[0].capabilities == ()


async def test_https_is_verified_by_the_file_that_was_given(tmp_path: Path) -> None:
    """A certificate of its own is trusted where the user gave it, and nowhere else."""
    own, key = certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(own, key)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        given = Address("127.0.0.1", port, tls=True, ca_file=str(own))
        reply = await Commands().send("GET", given, "/x")
        with pytest.raises(UserError):
            await Commands().send("GET", Address("127.0.0.1", port, tls=True), "/x")
    assert (reply.status, reply.body) == (200, b"{}")
