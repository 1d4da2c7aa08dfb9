"""The gateway as a process: how it starts, drains, loses its controller and ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from flm import __version__
from flm.ports.processes import current
from flm.wire.channel import Ack, Drain, Drained, Hello
from flm.wire.journal import LOCK
from support.gateway import RunningGateway, gateway, target_at
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
)

HEALTH = request("GET", "/health")


class Story:
    """An engine that begins a stream and tells the rest when it may."""

    def __init__(self) -> None:
        self.may_end = threading.Event()
        self.left = threading.Event()

    def __call__(self, side: EngineSide) -> None:
        asked = side.request()
        if asked is not None and b'"stream":true' not in asked.body:
            assert self.may_end.wait(10)
            side.send(sized(answer_body()))
            return
        side.send(STREAM_HEAD + as_chunk(event("one")))
        self.may_end.wait(10)
        if not side.send(as_chunk(event("two")) + as_chunk(DONE) + LAST_CHUNK):
            self.left.set()


@pytest.fixture
def story() -> Story:
    """The engine's script."""
    return Story()


@pytest.fixture
def running(tmp_path: Path, story: Story) -> Iterator[RunningGateway]:
    """A gateway with models on two engines: `m`, and `own` on the embedded one."""
    with (
        ScriptedEngine(story) as engine,
        gateway(
            tmp_path, target_at(engine.port), target_at(engine.port, "own", engine="embedded")
        ) as running,
    ):
        yield running
        story.may_end.set()


def streaming(running: RunningGateway, model: str = "m") -> RawClient:
    """A client in the middle of a stream."""
    client = RawClient(running.port)
    client.send(chat(stream=True, model=model))
    assert client.head()[0] == 200
    assert b'"one"' in client.chunk()
    return client


def end_of(client: RawClient) -> str:
    """The code of the error event a stream ends with; '' when it ends well."""
    rest = b"".join(iter(client.chunk, b""))
    if rest.endswith(DONE):
        return ""
    return str(json.loads(rest.rpartition(b"data: ")[2])["error"]["code"])


def leave(running: RunningGateway, seconds: float = 10) -> int:
    """Wait for its end; its exit code."""
    return running.process.wait(seconds)


# Start.


def test_its_first_words_are_who_it_is(running: RunningGateway) -> None:
    """Then the acknowledgement of its configuration."""
    assert running.messages[0] == Hello(__version__, running.process.pid)
    assert running.messages[1] == Ack(1)


def test_it_listens_only_once_it_knows_what_to_serve(running: RunningGateway) -> None:
    """After the acknowledgement everything is answered."""
    assert ask(running.port, HEALTH).status == 200


def test_it_leaves_at_once_when_its_parent_is_gone(tmp_path: Path) -> None:
    """The pid it was given is not its parent's."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.set_inheritable(True)
        ended = subprocess.run(
            [sys.executable, "-P", "-m", "flm.gateway", "--channel", str(theirs.fileno()),
             "--parent", "1"],
            pass_fds=[theirs.fileno()], check=False, timeout=10, capture_output=True,
        )  # fmt: skip
    assert ended.returncode == 1


def test_it_is_started_by_a_controller_only() -> None:
    """Somebody who tries hears why."""
    ended = subprocess.run(
        [sys.executable, "-P", "-m", "flm.gateway"], check=False, timeout=10, capture_output=True
    )
    assert ended.returncode == 1
    assert b"controller" in ended.stderr


def test_it_runs_one_thread(running: RunningGateway, story: Story) -> None:
    """After traffic of every kind: a second one would starve the loop."""
    story.may_end.set()
    for data in (HEALTH, chat(), chat(stream=True), request("GET", "/nope")):
        ask(running.port, data)
    assert psutil.Process(running.process.pid).num_threads() == 1


def test_it_keeps_no_secret_in_its_arguments(running: RunningGateway) -> None:
    """Anybody on the machine can read them."""
    assert "flm_" not in " ".join(psutil.Process(running.process.pid).cmdline())


# Signals.


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_to_the_group_are_the_controller_s(
    running: RunningGateway, story: Story, number: signal.Signals
) -> None:
    """Ctrl-C reaches everybody in the terminal: the gateway goes on until it is told."""
    with streaming(running) as client:
        running.process.send_signal(number)
        assert ask(running.port, HEALTH).status == 200
        story.may_end.set()
        assert end_of(client) == ""


# Drain.


def test_a_drain_ends_idle_connections_and_lets_responses_end(
    running: RunningGateway, story: Story
) -> None:
    """Streams end well and close their connections; then it leaves."""
    with (
        RawClient(running.port) as idle,
        streaming(running) as busy,
        RawClient(running.port) as half,
    ):
        assert idle.ask(HEALTH).status == 200
        half.send(chat()[:-5])
        running.stats(lambda stats: stats.in_flight == 2)
        running.send(Drain(30))
        assert idle.is_closed()
        story.may_end.set()
        assert end_of(busy) == ""
        assert busy.is_closed()
        response = half.ask(chat()[-5:])
        assert (response.status, response.headers["connection"]) == (200, "close")
        assert half.is_closed()
    assert running.wait_for(lambda said: isinstance(said, Drained)) == Drained("drain")
    assert leave(running) == 0
    assert sorted(record.error for record in running.records()) == ["", ""]


def test_a_drain_without_anything_running_is_over_at_once(running: RunningGateway) -> None:
    """However long the grace is."""
    running.send(Drain(3600))
    running.wait_for(lambda said: isinstance(said, Drained))
    assert leave(running) == 0


def test_a_drain_that_takes_too_long_ends_responses_with_a_word(running: RunningGateway) -> None:
    """Streams by an error event, whole answers and half requests by 503; all are recorded."""
    with (
        streaming(running) as stream,
        RawClient(running.port) as whole,
        RawClient(running.port) as half,
    ):
        whole.send(chat())
        half.send(chat()[:-5])
        running.stats(lambda stats: stats.in_flight == 3)
        running.send(Drain(0.4))
        assert end_of(stream) == "shutting_down"
        for client in (whole, half):
            response = client.response()
            assert (response.status, response.code) == (503, "shutting_down")
            assert "retry-after" in response.headers
    assert running.wait_for(lambda said: isinstance(said, Drained)) == Drained("deadline")
    assert leave(running) == 0
    assert [record.error for record in running.records()] == ["shutting_down"] * 3


def test_a_half_request_alone_is_told_as_well(running: RunningGateway) -> None:
    """It has reached us: it is answered, in the end with 503."""
    with RawClient(running.port) as half:
        half.send(chat()[:-5])
        running.stats(lambda stats: stats.in_flight == 1)
        running.send(Drain(0.2))
        assert half.response().status == 503
    assert leave(running) == 0


def test_while_it_drains_new_connections_wait_for_the_next(
    running: RunningGateway, story: Story
) -> None:
    """It takes none; they stay in the backlog of the socket it shares with its controller."""
    with streaming(running) as busy, RawClient(running.port) as waiting:
        running.stats(lambda stats: stats.connections == 2)
        running.send(Drain(30))
        assert waiting.is_closed()
        with RawClient(running.port) as later:
            later.send(HEALTH)
            story.may_end.set()
            assert end_of(busy) == ""
            assert leave(running) == 0
            connection, _ = running._listening.accept()
            with connection:
                assert connection.recv(65536) == HEALTH


def test_pipelined_requests_are_not_begun_while_it_drains(
    running: RunningGateway, story: Story
) -> None:
    """The one that runs is answered with close."""
    with RawClient(running.port) as client:
        client.send(chat() + HEALTH)
        running.stats(lambda stats: stats.in_flight == 1)
        running.send(Drain(30))
        story.may_end.set()
        assert client.response().headers["connection"] == "close"
        assert client.half_close().is_closed()
    assert leave(running) == 0


# The controller dies.


def test_without_its_controller_it_ends_within_3_s(running: RunningGateway) -> None:
    """Idle connections at once, and what the embedded engine streams: its child dies as well.
    Other responses end with a word, then it leaves.
    """
    with (
        RawClient(running.port) as idle,
        streaming(running, "own") as owned,
        streaming(running) as other,
    ):
        assert idle.ask(HEALTH).status == 200
        running.cut_channel()
        assert idle.is_closed()
        assert end_of(owned) == "shutting_down"
        assert [record.engine for record in running.records()] == ["embedded"]
        assert end_of(other) == "shutting_down"
        assert leave(running, 5) == 0
    assert [record.error for record in running.records()] == ["shutting_down"] * 2
    [lock] = running.journal.rglob(LOCK)
    assert not current().is_locked(lock)


def test_what_ends_by_itself_meanwhile_ends_well(running: RunningGateway, story: Story) -> None:
    """Other engines live on."""
    with streaming(running) as busy:
        running.cut_channel()
        story.may_end.set()
        assert end_of(busy) == ""
        assert busy.is_closed()
    assert leave(running, 5) == 0


def test_a_controller_that_dies_during_a_drain_shortens_it(running: RunningGateway) -> None:
    """Nothing is left behind 5 s after its death, whatever grace it had given."""
    with streaming(running) as busy:
        running.send(Drain(3600))
        eventually(lambda: _refuses(running.port))
        running.cut_channel()
        assert end_of(busy) == "shutting_down"
    assert leave(running, 5) == 0


def _refuses(port: int) -> bool:
    """Whether the gateway takes no new connection any more: it waits in the backlog."""
    with socket.create_connection(("127.0.0.1", port)) as probe:
        probe.settimeout(0.05)
        probe.sendall(HEALTH)
        try:
            return probe.recv(1) == b""
        except TimeoutError:
            return True


def test_it_outlives_a_parent_that_is_killed_only_to_say_so(tmp_path: Path) -> None:
    """The stream of a gateway whose controller is killed with -9 ends with an error event."""
    story = Story()
    with ScriptedEngine(story) as engine:
        script = (
            "import sys, threading, pathlib\n"
            f"sys.path[:0] = {sys.path!r}\n"
            "from support.gateway import *\n"
            f"with gateway(pathlib.Path({str(tmp_path)!r}), target_at({engine.port})) as running:\n"
            "    print(running.port, running.process.pid, flush=True)\n"
            "    threading.Event().wait(60)\n"
        )
        parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
        assert parent.stdout is not None
        port, pid = (int(word) for word in parent.stdout.readline().split())
        child = psutil.Process(pid)
        with RawClient(port) as client:
            client.send(chat(stream=True))
            client.head()
            assert client.chunk() == event("one")
            os.kill(parent.pid, signal.SIGKILL)
            assert end_of(client) == "shutting_down"
        parent.wait(10)
        parent.stdout.close()
        psutil.wait_procs([child], timeout=5)
        assert not child.is_running()
        story.may_end.set()


# Memory.


def test_at_rest_it_is_small(tmp_path: Path) -> None:
    """PSS of at most 40 MB after a first request."""
    with (
        ScriptedEngine(answering(sized(answer_body()))) as engine,
        gateway(tmp_path, target_at(engine.port)) as running,
    ):
        assert ask(running.port, chat()).status == 200
        assert psutil.Process(running.process.pid).memory_full_info().pss < 40 << 20
