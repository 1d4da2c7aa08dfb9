"""How FLM ends when asked: whatever asks, running answers end whole and nothing stays."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from e2e_engines import Switchboard
from e2e_house import CHAT, Stream, call, chat, code_of, text_of

from support.running_flm import Flm, Up, until

WHOLE = ["first ", "last", "", "[DONE]"]


def texts(events: list[str]) -> list[str]:
    """What the events of a stream say; the end mark as it is."""
    return [each if each == "[DONE]" else text_of(each) for each in events]


def interrupt_controller(up: Up) -> None:
    """What the shell's `kill -INT` does."""
    os.kill(up.controller, signal.SIGINT)


def interrupt_group(up: Up) -> None:
    """Ctrl-C in a terminal: SIGINT to the foreground process group."""
    os.killpg(up.controller, signal.SIGINT)


def terminate_everybody(up: Up) -> None:
    """A service manager's or `docker stop`'s signal to every process of the unit."""
    for process in up.flm.processes():
        process.send_signal(signal.SIGTERM)


def hang_up(up: Up) -> None:
    """The terminal was closed."""
    for process in up.flm.processes():
        process.send_signal(signal.SIGHUP)


def stop_by_command(up: Up) -> None:
    """`flm proxy stop`, which waits: so it is not waited for here."""
    threading.Thread(target=up.flm.run, args=("proxy", "stop")).start()


@pytest.mark.parametrize(
    "ask",
    [interrupt_controller, interrupt_group, terminate_everybody, hang_up, stop_by_command],
)
def test_a_running_stream_ends_whole_and_is_recorded(
    flm: Flm, switch: Switchboard, ask: Callable[[Up], None]
) -> None:
    """No new connection is taken meanwhile; then all leave, and the record is in the log."""
    flm.tell("engines", "add", "switch", "--url", f"{switch.url}/v1")
    with flm.up() as up:
        key = up.ready().told["api_key"]
        until(lambda: b'"slow"' in call(up.port, "/v1/models", key).body, "the engine's models")
        with Stream(up.port, key, "slow") as stream:
            begun = stream.first_word()
            ask(up)
            until(lambda: refused(up.port), "no new connections")
            switch.go.set()
            rest = stream.rest()
        done = up.wait()
        assert [begun, *texts(rest)] == WHOLE
        assert done.code == 0
        flm.gone()
    (record,) = [each for each in flm.logs() if each["request_id"] == stream.id]
    assert (record["status"], record["error"], record["streamed"]) == (200, None, True)


def refused(port: int) -> bool:
    """Whether nobody listens there any more."""
    try:
        call(port, "/health")
    except ConnectionError:
        return True
    return False


def test_an_answer_that_is_not_streamed_ends_whole_too(flm: Flm, switch: Switchboard) -> None:
    """The client waits for its first byte when the stop is asked for."""
    flm.tell("engines", "add", "switch", "--url", f"{switch.url}/v1")
    with flm.up() as up:
        key = up.ready().told["api_key"]
        until(lambda: b'"slow"' in call(up.port, "/v1/models", key).body, "the engine's models")
        port = str(up.port)
        asking = subprocess.Popen(
            [sys.executable, "-c", ASK, port, key], stdout=subprocess.PIPE, text=True
        )
        until(lambda: switch.waiting, "the request at the engine")
        os.kill(up.controller, signal.SIGTERM)
        until(lambda: refused(up.port), "no new connections")
        switch.go.set()
        said, _ = asking.communicate(timeout=30)
        assert said == "200 first last\n"
        assert up.wait().code == 0


ASK = """
import http.client, json, sys
connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=60)
body = {"model": "slow", "messages": [{"role": "user", "content": "hi"}]}
connection.request("POST", "/v1/chat/completions", json.dumps(body),
                   {"authorization": "Bearer " + sys.argv[2]})
answer = connection.getresponse()
print(answer.status, json.loads(answer.read())["choices"][0]["message"]["content"])
"""


def test_a_second_interrupt_ends_at_once(flm: Flm, switch: Switchboard) -> None:
    """A stream that would go on for long is cut, and nothing stays."""
    flm.tell("engines", "add", "switch", "--url", f"{switch.url}/v1")
    with flm.up() as up:
        key = up.ready().told["api_key"]
        until(lambda: b'"slow"' in call(up.port, "/v1/models", key).body, "the engine's models")
        with Stream(up.port, key, "slow") as stream:
            stream.first_word()
            os.kill(up.controller, signal.SIGINT)
            until(lambda: refused(up.port), "the first one")
            os.kill(up.controller, signal.SIGINT)
            assert up.wait(15).code == 0
        flm.gone(5)


def test_the_grace_period_ends_a_stream_with_an_error_event(flm: Flm, switch: Switchboard) -> None:
    """`server.drain_seconds` over, the client is told, and the record says it failed."""
    flm.tell("engines", "add", "switch", "--url", f"{switch.url}/v1")
    flm.tell("config", "set", "server.drain_seconds", "1")
    with flm.up() as up:
        key = up.ready().told["api_key"]
        until(lambda: b'"slow"' in call(up.port, "/v1/models", key).body, "the engine's models")
        with Stream(up.port, key, "slow") as stream:
            stream.first_word()
            os.kill(up.controller, signal.SIGTERM)
            last = stream.rest()[-1]
        assert code_of(last) == "shutting_down"
        assert up.wait().code == 0
    (record,) = [each for each in flm.logs() if each["request_id"] == stream.id]
    assert record["error"] == "shutting_down"


def test_the_embedded_engine_is_gone_too(flm: Flm, gguf: Path) -> None:
    """A loaded model's process ends with the controller."""
    flm.tell("models", "add", str(gguf / "words.gguf"))
    _, key = flm.key()
    served = flm.start()
    assert call(served.port, CHAT, key, chat("words")).status == 200
    (child,) = served.embedded()
    flm.tell("proxy", "stop")
    assert not psutil.pid_exists(child)
    flm.gone(2)


UNSHARE = shutil.which("unshare")
NAMESPACE = ("--pid", "--fork", "--mount-proc", "--kill-child")


def may_be_pid_1() -> bool:
    """Whether this machine lets us make a PID namespace."""
    if UNSHARE is None:
        return False
    return subprocess.call([UNSHARE, *NAMESPACE, "true"]) == 0


@pytest.mark.skipif(not may_be_pid_1(), reason="apt-get install util-linux, and run as root")
def test_a_controller_that_is_pid_1_drains_and_reaps(flm: Flm, switch: Switchboard) -> None:
    """As in a container: SIGTERM is not ignored, and orphans do not stay as zombies."""
    assert UNSHARE is not None
    flm.tell("engines", "add", "switch", "--url", f"{switch.url}/v1")
    command = [UNSHARE, *NAMESPACE, *flm.command("up", "--port", "0")]
    with Up(flm, command, {}) as up:
        key = up.ready().told["api_key"]
        assert up.controller == 1
        (first,) = psutil.Process(up.process.pid).children()
        until(lambda: b'"slow"' in call(up.port, "/v1/models", key).body, "the engine's models")
        orphan = subprocess.Popen(
            ["nsenter", "--target", str(first.pid), "--pid", "sh", "-c", "sleep 0.2 & exit 0"]
        )
        orphan.wait(10)
        until(lambda: zombies(first) == [], "no zombies")
        with Stream(up.port, key, "slow") as stream:
            begun = stream.first_word()
            first.send_signal(signal.SIGTERM)
            until(lambda: refused(up.port), "no new connections")
            switch.go.set()
            assert [begun, *texts(stream.rest())] == WHOLE
        assert up.wait().code == 0
        flm.gone()
    (record,) = [each for each in flm.logs() if each["request_id"] == stream.id]
    assert record["error"] is None


def zombies(process: psutil.Process) -> list[psutil.Process]:
    """Its children that ended and were not waited for."""
    return [each for each in process.children() if each.status() == psutil.STATUS_ZOMBIE]
