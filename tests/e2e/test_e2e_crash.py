"""kill -9 under load: nothing answered is forgotten, nothing is left behind, all goes on."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import signal
import sqlite3
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest
from e2e_engines import Switchboard
from e2e_house import CHAT, Stream, accepts, call, chat, code_of
from e2e_load import Load

from support.running_flm import Flm, Served, alive, until

ROUNDS = 4


@pytest.fixture
def served(flm: Flm, switch: Switchboard) -> tuple[Served, str]:
    """A started FLM with one engine that answers at once, and a key."""
    with flm.services() as services:
        services.engines.add("switch", f"{switch.url}/v1")
        _, key = services.keys.create("load")
    started = flm.start()
    until(lambda: b'"shared"' in call(started.port, "/v1/models", key).body, "the models")
    return started, key


def forgotten(flm: Flm, load: Load) -> set[str]:
    """The responses that were whole at a client and have no record."""
    recorded: set[str] = set()

    def all_there() -> bool:
        recorded.update(each["request_id"] for each in flm.logs("--limit", "100000"))
        return load.whole.keys() <= recorded

    try:
        until(all_there, "every record", 15, pause=0.3)
    except AssertionError:
        return set(load.whole) - recorded
    return set()


async def test_killed_gateways_forget_nothing_and_refuse_no_connection(
    flm: Flm, served: tuple[Served, str]
) -> None:
    """32 connections, answers and streams: after each kill -9 the next gateway takes over."""
    started, key = served
    async with Load(started.port, key, "shared") as load:
        for _ in range(ROUNDS):
            await load.more(300)
            gateway = await asyncio.to_thread(started.gateway)
            os.kill(gateway, signal.SIGKILL)
        await load.more(300)
    assert (load.refused, load.cut > 0) == (0, True)
    assert min(load.kinds["sized"], load.kinds["stream"]) > 300
    assert await asyncio.to_thread(forgotten, flm, load) == set()
    assert flm.status()["gateway"]["restarts"] == ROUNDS


async def test_killed_controllers_forget_nothing_and_the_next_start_works_at_once(
    flm: Flm, served: tuple[Served, str]
) -> None:
    """Started again on the same port while the old gateway still ends what it began."""
    started, key = served
    async with Load(started.port, key, "shared") as load:
        for _ in range(ROUNDS):
            await load.more(300)
            os.kill(started.controller, signal.SIGKILL)
            started = await asyncio.to_thread(flm.start, "--port", str(started.port))
        await load.more(300)
    assert min(load.kinds["sized"], load.kinds["stream"]) > 300
    assert await asyncio.to_thread(forgotten, flm, load) == set()


async def test_both_killed_at_once_forget_nothing(flm: Flm, served: tuple[Served, str]) -> None:
    """Nobody is left to write anything down: what is in the journal is enough."""
    started, key = served
    async with Load(started.port, key, "shared") as load:
        await load.more(300)
        gateway = await asyncio.to_thread(started.gateway)
        os.kill(started.controller, signal.SIGKILL)
        os.kill(gateway, signal.SIGKILL)
        started = await asyncio.to_thread(flm.start, "--port", str(started.port))
        await load.more(300)
    assert await asyncio.to_thread(forgotten, flm, load) == set()


async def test_a_stop_under_load_cuts_no_answer(flm: Flm, served: tuple[Served, str]) -> None:
    """What has begun ends; what was whole is stored when the command returns."""
    started, key = served
    async with Load(started.port, key, "shared") as load:
        await load.more(300)
        stopped = await asyncio.to_thread(flm.tell, "proxy", "stop")
    assert (stopped["stopped"], load.half) == (True, 0)
    recorded = {each["request_id"] for each in flm.logs("--limit", "100000")}
    assert load.whole.keys() <= recorded
    assert list((flm.data / "journal").rglob("*.seg")) == []


@pytest.mark.parametrize(
    "reached", ["controller.lock", "control.sock", "pepper", "telemetry.db", "gateway.log"]
)
def test_killed_anywhere_in_its_first_start_the_next_one_works(flm: Flm, reached: str) -> None:
    """Half-made databases, secrets and sockets are no obstacle, and nothing is left."""
    command = [sys.executable, "-P", "-m", "flm.control", "--data-dir", str(flm.data)]
    starting = subprocess.Popen([*command, "--port", "0"], env=flm.environ)
    until((flm.data / reached).exists, reached, pause=0.0)
    starting.kill()
    starting.wait(10)
    assert flm.status() == {"running": False}
    served = flm.start("--demo")
    _, key = flm.key()
    assert call(served.port, CHAT, key, chat("flm-demo", max_tokens=2)).status == 200


def test_a_locked_database_keeps_no_request_waiting(flm: Flm, served: tuple[Served, str]) -> None:
    """Records stay in the journal, and are stored when the lock is gone."""
    started, key = served
    locker = sqlite3.connect(flm.data / "telemetry.db", isolation_level=None)
    with contextlib.closing(locker):
        locker.execute("BEGIN EXCLUSIVE")
        answers = [call(started.port, CHAT, key, chat("shared")) for _ in range(20)]
        locker.execute("ROLLBACK")
    assert [answer.status for answer in answers] == [200] * 20
    for answer in answers:
        assert flm.record(answer.headers["x-request-id"])["status"] == 200


def test_a_killed_gateway_is_back_within_a_second(served: tuple[Served, str]) -> None:
    """From the kill to the first answer, on the same port; the median of five."""
    started, key = served
    took = []
    for _ in range(5):
        gateway = started.gateway()
        until(lambda: accepts(started.port, key) == 200, "the gateway")
        begin = time.monotonic()
        os.kill(gateway, signal.SIGKILL)
        until(lambda gone=gateway: not alive(gone), "its end", pause=0.0)
        assert accepts(started.port, key) == 200
        took.append(time.monotonic() - begin)
    assert statistics.median(took) < 1.0, took


def test_nothing_is_left_of_a_killed_controller(flm: Flm, gguf: Path, switch: Switchboard) -> None:
    """5 s later neither the gateway, busy as it was, nor a loaded model's process runs."""
    with flm.services() as services:
        services.models.add(str(gguf / "words.gguf"))
        services.engines.add("switch", f"{switch.url}/v1")
        _, key = services.keys.create("test")
    served = flm.start()
    until(lambda: b'"slow"' in call(served.port, "/v1/models", key).body, "the models")
    assert call(served.port, CHAT, key, chat("words")).status == 200
    gateway, (child,) = served.gateway(), served.embedded()
    with Stream(served.port, key, "slow") as stream:
        stream.first_word()
        os.kill(served.controller, signal.SIGKILL)
        last = stream.rest()[-1]
    flm.gone(5)
    assert (alive(gateway), alive(child)) == (False, False)
    assert code_of(last) == "shutting_down"
    again = flm.start("--port", str(served.port))
    assert call(again.port, CHAT, key, chat("words")).status == 200
    assert flm.record(stream.id)["error"] == "shutting_down"


def test_a_stream_ends_whole_when_its_controller_is_killed(
    flm: Flm, served: tuple[Served, str], switch: Switchboard
) -> None:
    """On an engine that is not ours, within the 3 s a gateway has then."""
    started, key = served
    with Stream(started.port, key, "slow") as stream:
        stream.first_word()
        os.kill(started.controller, signal.SIGKILL)
        until(lambda: not alive(started.controller), "the controller's end")
        switch.go.set()
        assert stream.rest()[-1] == "[DONE]"
    flm.start()
    assert flm.record(stream.id)["error"] is None


def test_a_stream_of_a_killed_gateway_never_looks_whole(
    flm: Flm, served: tuple[Served, str], switch: Switchboard
) -> None:
    """Neither an end mark nor the end of the body: the client's parser fails."""
    started, key = served
    with Stream(started.port, key, "slow") as stream:
        stream.first_word()
        os.kill(started.gateway(), signal.SIGKILL)
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            stream.rest()
    switch.go.set()
    assert accepts(started.port, key) == 200
