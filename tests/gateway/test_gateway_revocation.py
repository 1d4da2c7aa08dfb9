"""A revoked key: refused from the acknowledgement on, and what it runs is ended."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.gateway import (
    KEY,
    KEY_ID,
    OTHER_ID,
    OTHER_KEY,
    RunningGateway,
    gateway,
    keys_section,
    target_at,
)
from support.raw_client import RawClient, ask, chat, request
from support.scripted_engine import (
    STREAM_HEAD,
    EngineSide,
    ScriptedEngine,
    as_chunk,
    event,
)


class Working:
    """An engine that begins a stream, or nothing, and works until it is left alone."""

    def __init__(self) -> None:
        self.asked = threading.Semaphore(0)
        self.left = threading.Semaphore(0)

    def __call__(self, side: EngineSide) -> None:
        asked = side.request()
        if asked is not None and b'"stream":true' in asked.body:
            side.send(STREAM_HEAD + as_chunk(event("one")))
        self.asked.release()
        if side.is_left():
            self.left.release()


@pytest.fixture
def working() -> Working:
    """The engine's script."""
    return Working()


@pytest.fixture
def running(tmp_path: Path, working: Working) -> Iterator[RunningGateway]:
    """A gateway with two keys."""
    with (
        ScriptedEngine(working) as engine,
        gateway(tmp_path, target_at(engine.port)) as running,
    ):
        running.delta(keys=keys_section((KEY_ID, KEY), (OTHER_ID, OTHER_KEY), revision=2))
        yield running


def revoke(running: RunningGateway) -> None:
    """Revoke `KEY`; returns with the acknowledgement."""
    running.delta(keys=keys_section((OTHER_ID, OTHER_KEY), revision=3), revoked=(KEY_ID,))


def test_the_next_request_is_refused(running: RunningGateway) -> None:
    """On connections that were open as well; other keys go on."""
    with RawClient(running.port) as client:
        assert client.ask(request("GET", "/v1/models")).status == 200
        revoke(running)
        assert client.ask(request("GET", "/v1/models")).status == 401
    assert ask(running.port, request("GET", "/v1/models", key=OTHER_KEY)).status == 200


def test_a_running_stream_ends_with_an_error_event(
    running: RunningGateway, working: Working
) -> None:
    """It was said before the acknowledgement; the engine is left; the record says why."""
    with RawClient(running.port) as client, RawClient(running.port) as other:
        client.send(chat(stream=True))
        other.send(chat(stream=True, key=OTHER_KEY))
        client.read_until(b"one")
        other.read_until(b"one")
        revoke(running)
        assert [record.error for record in running.records()] == ["key_revoked"]
        rest = client.read_until(b"0\r\n\r\n")
        error = json.loads(rest.partition(b"data: ")[2].partition(b"\n\n")[0])["error"]
        assert (error["code"], error["type"]) == ("key_revoked", "authentication_error")
        assert b"[DONE]" not in rest
        assert working.left.acquire(timeout=10)
        running.stats(lambda stats: stats.in_flight == 1)


def test_a_running_whole_answer_ends_with_401(running: RunningGateway, working: Working) -> None:
    """Nothing was sent yet, so the status can tell."""
    with RawClient(running.port) as client:
        client.send(chat())
        assert working.asked.acquire(timeout=10)
        revoke(running)
        response = client.response()
        assert (response.status, response.code) == (401, "key_revoked")
        assert response.headers["x-should-retry"] == "false"
        assert working.left.acquire(timeout=10)


def test_a_body_that_is_still_arriving_is_served_no_more(running: RunningGateway) -> None:
    """Its key was good when its head came; it is judged by what is in force."""
    data = chat()
    with RawClient(running.port) as client:
        client.send(data[:-5])
        running.stats(lambda stats: stats.in_flight == 1)
        revoke(running)
        assert client.response().code == "key_revoked"
        client.send_until_refused([data[-5:]])
        assert client.is_closed()
    assert [record.error for record in running.records()] == ["key_revoked"]


def test_an_acknowledgement_does_not_wait_when_nothing_runs(running: RunningGateway) -> None:
    """And a revocation of a key nobody knows is acknowledged as well."""
    running.delta(revoked=("nobody",))
    assert ask(running.port, request("GET", "/v1/models")).status == 200
