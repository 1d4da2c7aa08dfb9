"""A chat with images by URL, through a gateway: off, on, and what reaches the engine."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from flm.gateway.desk import GatewayDesk
from flm.gateway.edge.caps import Caps
from flm.gateway.edge.connection import Connection
from flm.gateway.endpoints.table import route_table
from flm.gateway.journal import Journal
from flm.gateway.live import Live
from flm.gateway.media_fetch import MediaFetcher
from flm.ports.clock import SystemClock
from flm.ports.processes import current
from flm.wire.snapshot import Rules, Snapshot
from support.gateway import (
    KEY,
    KEY_ID,
    RunningGateway,
    gateway,
    keys_section,
    routes_section,
    target_at,
)
from support.raw_client import CHAT, Response, ask, request
from support.scripted_engine import ScriptedEngine, answering, sized, stream_of

PNG = b"\x89PNG\r\n\x1a\n" + b"cat" * 1000
PICTURE = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: %d\r\n\r\n" % len(PNG)
FETCHING = Rules(revision=2, media_fetch=True)


def asked(*urls: str, stream: bool = False) -> bytes:
    """A chat about these images."""
    content = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    body = {"model": "m", "messages": [{"role": "user", "content": content}], "stream": stream}
    return request("POST", CHAT, body=json.dumps(body).encode())


def test_a_url_is_refused_unless_the_owner_lets_flm_fetch(
    engine: ScriptedEngine, tmp_path: Path
) -> None:
    """And then those on this machine still are; the engine hears of none."""
    with gateway(tmp_path, target_at(engine.port)) as running:
        for url in ("https://cats.example/x.png", f"http://127.0.0.1:{engine.port}/x.png"):
            assert ask(running.port, asked(url)).code == "unsupported_image_url"
        running.delta(rules=FETCHING)
        for url in ("http://127.0.0.1/x", "http://localhost/x", "http://169.254.169.254/latest",
                    f"http://127.0.0.1:{engine.port}/x", "http://user@cats.example/"):  # fmt: skip
            response = ask(running.port, asked(url))
            assert (response.status, response.code) == (400, "unsupported_image_url")
            assert response.json()["error"]["param"] == "messages[0].content[0].image_url"
    assert engine.seen == []


@pytest.fixture
async def port(
    engine: ScriptedEngine, pictures: ScriptedEngine, tmp_path: Path
) -> AsyncIterator[int]:
    """A gateway in this process, to which the server of pictures is public."""
    journal = Journal(tmp_path, "i", current(), 1 << 20)
    journal.open()
    snapshot = Snapshot(
        keys_section((KEY_ID, KEY)), routes_section(target_at(engine.port)), FETCHING
    )
    desk = GatewayDesk(
        clock=SystemClock(), caps=Caps(1000), live=Live(snapshot), journal=journal,
        table=route_table(), instance="i", send=lambda message: None,
        on_idle=lambda live: None,
    )  # fmt: skip
    desk.media = MediaFetcher(
        lambda: 100_000, public=lambda address: True, ports=frozenset({pictures.port})
    )
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(desk, True), "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    for connection in list(desk.connections):
        connection.close_if_idle()
    desk.live.sweep(desk.clock.monotonic() + 60)
    journal.close()
    assert desk.caps.bodies == 0


@pytest.fixture
def pictures() -> ScriptedEngine:
    """A server of one picture."""
    with ScriptedEngine(answering(PICTURE + PNG)) as server:
        yield server


async def asked_of(port: int, data: bytes) -> Response:
    """The answer, while the gateway runs in this loop."""
    return await asyncio.to_thread(ask, port, data)


@pytest.mark.parametrize("stream", [False, True])
async def test_the_engine_gets_the_image_itself(
    port: int, engine: ScriptedEngine, pictures: ScriptedEngine, stream: bool
) -> None:
    """Whole and streamed, beside images that came along."""
    if stream:
        engine.script = answering(stream_of("a", "cat"))
    url = f"http://127.0.0.1:{pictures.port}/cat.png"
    response = await asked_of(port, asked("data:image/gif;base64,R0lG", url, stream=stream))
    assert response.status == 200
    (seen,) = engine.seen
    parts = json.loads(seen.body)["messages"][0]["content"]
    assert [part["image_url"]["url"] for part in parts] == [
        "data:image/gif;base64,R0lG",
        "data:image/png;base64," + base64.b64encode(PNG).decode(),
    ]
    assert len(pictures.seen) == 1


async def test_an_image_that_does_not_come_is_the_client_s_error(
    port: int, engine: ScriptedEngine, pictures: ScriptedEngine
) -> None:
    """With its place; the engine is not asked."""
    pictures.script = answering(sized(b"{}", "404 Not Found"))
    response = await asked_of(port, asked(f"http://127.0.0.1:{pictures.port}/gone.png"))
    assert (response.status, response.code) == (400, "image_fetch_failed")
    assert response.message == "The image could not be fetched: its host answers 404."
    assert engine.seen == []


def in_other_dialects(url: str) -> dict[str, dict[str, object]]:
    """The same image as Anthropic's and the Responses' clients name it."""
    source = {"type": "url", "url": url}
    return {
        "/v1/messages": {
            "model": "m", "max_tokens": 9,
            "messages": [{"role": "user", "content": [{"type": "image", "source": source}]}],
        },
        "/v1/responses": {
            "model": "m", "store": False,
            "input": [{"role": "user", "content": [{"type": "input_image", "image_url": url}]}],
        },
    }  # fmt: skip


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/responses"])
async def test_other_dialects_are_served_alike(
    port: int, engine: ScriptedEngine, pictures: ScriptedEngine, path: str
) -> None:
    """The engine gets OpenAI's form, with the image in it."""
    body = in_other_dialects(f"http://127.0.0.1:{pictures.port}/cat.png")[path]
    response = await asked_of(port, request("POST", path, body=json.dumps(body).encode()))
    assert response.status == 200
    (part,) = json.loads(engine.seen[0].body)["messages"][0]["content"]
    assert part["image_url"]["url"] == "data:image/png;base64," + base64.b64encode(PNG).decode()


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/responses"])
def test_other_dialects_are_refused_alike(
    served: RunningGateway, engine: ScriptedEngine, path: str
) -> None:
    """Where FLM fetches nothing."""
    body = in_other_dialects("https://cats.example/x.png")[path]
    response = ask(served.port, request("POST", path, body=json.dumps(body).encode()))
    assert response.status == 400
    assert "does not let engines fetch URLs" in response.message
    assert engine.seen == []
