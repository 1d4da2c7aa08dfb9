"""Engines that FLM starts: they serve, they stop whole, and nothing of them outlives FLM."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from e2e_house import call
from e2e_programs import Shop, shop

from support import engine_program
from support.running_flm import FLM, Ran, alive, until


@pytest.fixture
def vllm(tmp_path: Path) -> Iterator[Shop]:
    """A `vllm` on PATH that serves `one` and `two`."""
    with shop(tmp_path) as made:
        made.program("vllm", "one", "two")
        made.engine("vllm", "vllm")
        yield made


def guards(served_by: int) -> list[psutil.Process]:
    """The guards of a controller."""
    children = psutil.Process(served_by).children()
    return [each for each in children if "flm.engines.guard" in each.cmdline()]


def test_an_engine_is_started_serves_and_is_stopped_with_all_that_came_of_it(vllm: Shop) -> None:
    """It listens on loopback with a key that only FLM has; what left its group goes too."""
    served = vllm.start()
    assert vllm.state("vllm") == "installed-only"
    started = vllm.flm.tell("engines", "start", "vllm", "--", "one")
    assert started["engine"]["state"] == "running-healthy"
    assert started["engine"]["url"] == f"http://127.0.0.1:{vllm.ports['vllm']}"
    assert vllm.said(served, "one") == "one"
    assert vllm.said(served, "vllm/two") == "two"
    assert call(vllm.ports["vllm"], "/v1/models").status == 401
    assert len(vllm.left()) == 4
    vllm.flm.tell("engines", "stop", "vllm")
    assert vllm.left() == []
    assert vllm.state("vllm") == "installed-only"
    assert vllm.ask(served, "one").status == 404


def test_the_arguments_are_remembered(vllm: Shop) -> None:
    """The next start without any uses them; they are a setting like others."""
    vllm.start()
    vllm.flm.tell("engines", "start", "vllm", "--", "one", "--max-model-len", "512")
    vllm.flm.tell("engines", "stop", "vllm")
    vllm.flm.tell("engines", "start", "vllm")
    first, second = engine_program.starts(vllm.bin)
    assert first == second
    assert first[:4] == ["serve", "one", "--max-model-len", "512"]
    shown = vllm.flm.tell("config", "get", "engines.vllm.arguments")
    assert shown["value"] == ["one", "--max-model-len", "512"]


def test_arguments_that_started_nothing_are_not_remembered(vllm: Shop) -> None:
    """Of a start that failed, that was refused, that was not needed, or that was another's."""
    vllm.start()

    def start(*arguments: str) -> Ran:
        return vllm.flm.run("engines", "start", "vllm", "--", *arguments)

    def stored() -> object:
        return vllm.flm.tell("config", "get", "engines.vllm.arguments")["value"]

    (vllm.bin / "fail").write_text("no memory")
    assert start("one", "--dtype", "float8").error["code"] == "start_failed"
    (vllm.bin / "fail").unlink()
    assert start("one", "--host", "0.0.0.0").error["code"] == "invalid_value"
    assert stored() is None
    assert start("one").data["arguments"] == ["one"]
    refused = start("one", "--host", "0.0.0.0")
    assert "let others reach the engine" in refused.error["message"]
    assert start("two").data["arguments"] is None
    assert stored() == ["one"]
    assert len(engine_program.starts(vllm.bin)) == 2


def test_who_joins_a_start_with_other_arguments_is_told(vllm: Shop) -> None:
    """Those of the start that was under way count, and are the ones that are remembered."""
    vllm.start()
    hold = vllm.bin / "hold"
    hold.touch()
    before = set(psutil.Process().children())
    with ThreadPoolExecutor(2) as askers, contextlib.ExitStack() as held:
        held.callback(hold.unlink)  # whatever happens, or the askers would be waited for
        first = askers.submit(vllm.flm.tell, "engines", "start", "vllm", "--", "one")
        until(lambda: engine_program.starts(vllm.bin), "the program to run")
        command = [*FLM, "--data-dir", str(vllm.flm.data), "engines", "start", "vllm", "--", "two"]
        second = askers.submit(
            subprocess.run, command, capture_output=True, text=True, env=vllm.flm.environ
        )
        until(lambda: len(set(psutil.Process().children()) - before) == 2, "both to wait")
        held.close()
        assert first.result()["arguments"] == ["one"]
        assert "was not used and is not remembered: vllm was" in second.result().stderr
    assert vllm.flm.tell("config", "get", "engines.vllm.arguments")["value"] == ["one"]


def test_an_engine_that_flm_started_is_renamed_when_it_is_stopped(vllm: Shop) -> None:
    """Before, both names would be there."""
    vllm.start()
    vllm.flm.tell("engines", "start", "vllm", "--", "one")
    refused = vllm.flm.run("engines", "rename", "vllm", "coder")
    assert refused.error["code"] == "conflict"
    assert "flm engines stop vllm" in refused.error["remedy"]
    vllm.flm.tell("engines", "stop", "vllm")
    assert vllm.flm.tell("engines", "rename", "vllm", "coder")["id"] == "coder"
    started = vllm.flm.tell("engines", "start", "coder")
    assert (started["engine"]["id"], started["arguments"]) == ("coder", ["one"])
    assert vllm.state("vllm") == "installed-only"


def test_what_is_kept_of_a_running_engine_is_nobody_elses(vllm: Shop) -> None:
    """`flm check` has nothing to say of FLM's own files."""
    vllm.start()
    vllm.flm.tell("engines", "start", "vllm", "--", "one")
    found = json.loads(vllm.flm.run("check").out)["data"]
    assert [each["findings"] for each in found["areas"] if each["name"] == "files"] == [[]]


def test_a_start_that_runs_is_joined_and_one_that_has_run_is_fine(vllm: Shop) -> None:
    """Two who ask get one engine."""
    vllm.start()
    with ThreadPoolExecutor(2) as askers:
        told = list(
            askers.map(lambda _: vllm.flm.tell("engines", "start", "vllm", "--", "one"), range(2))
        )
    again = vllm.flm.tell("engines", "start", "vllm")
    assert [each["engine"]["state"] for each in (*told, again)] == ["running-healthy"] * 3
    assert len(engine_program.starts(vllm.bin)) == 1


def test_an_engine_that_loads_is_starting_and_no_error(vllm: Shop) -> None:
    """`flm engines list` tells so; the start returns when it serves."""
    vllm.start()
    (vllm.bin / "hold").touch()
    with ThreadPoolExecutor(1) as asker:
        start = asker.submit(vllm.flm.tell, "engines", "start", "vllm", "--", "one")
        until(lambda: engine_program.starts(vllm.bin), "the program to run")
        until(lambda: vllm.seen("vllm")["reason"] == "starting", "the truth")
        assert vllm.state("vllm") == "running-degraded"
        (vllm.bin / "hold").unlink()
        assert start.result()["engine"]["state"] == "running-healthy"


def test_a_start_can_be_given_up(vllm: Shop) -> None:
    """`stop` ends one that loads; who waited for it hears so."""
    vllm.start()
    (vllm.bin / "hold").touch()
    with ThreadPoolExecutor(1) as asker:
        start = asker.submit(vllm.flm.run, "engines", "start", "vllm", "--", "one")
        until(lambda: len(vllm.left()) == 4, "the program to run")
        vllm.flm.tell("engines", "stop", "vllm")
        assert start.result().error["code"] == "conflict"
    assert vllm.left() == []


def test_an_engine_that_fails_says_so_in_its_own_words(vllm: Shop) -> None:
    """Its last lines are in the error, and nothing of it is left."""
    vllm.start()
    (vllm.bin / "fail").write_text("ValueError: no memory for the KV cache")
    ran = vllm.flm.run("engines", "start", "vllm", "--", "one")
    assert ran.code == 2
    assert ran.error["code"] == "start_failed"
    assert "ended with code 3" in ran.error["message"]
    assert "ValueError: no memory for the KV cache" in ran.error["message"]
    assert vllm.state("vllm") == "installed-only"
    assert vllm.left() == []


def test_a_program_that_is_none_says_so(vllm: Shop) -> None:
    """Its file is there and cannot be run."""
    vllm.start()
    (vllm.bin / "vllm").write_text("#!/nowhere/python\n")
    ran = vllm.flm.run("engines", "start", "vllm", "--", "one")
    assert "cannot be run: No such file or directory" in ran.error["message"]


def test_a_port_that_is_taken_is_passed_by(vllm: Shop) -> None:
    """The engine gets the next one, and is found there under its own id."""
    served = vllm.start()
    with socket.create_server(("127.0.0.1", vllm.ports["vllm"])):
        started = vllm.flm.tell("engines", "start", "vllm", "--", "one")
        port = int(started["engine"]["url"].rpartition(":")[2])
        assert port > vllm.ports["vllm"]
        vllm.flm.tell("engines", "detect")
        assert vllm.seen("vllm")["url"] == f"http://127.0.0.1:{port}"
        assert vllm.said(served, "one") == "one"


def test_what_would_open_an_engine_is_refused(vllm: Shop) -> None:
    """With the reason; a vLLM without a model is told what to name."""
    vllm.start()
    opened = vllm.flm.run("engines", "start", "vllm", "--", "one", "--host", "0.0.0.0")
    assert opened.error["code"] == "invalid_value"
    assert "let others reach the engine" in opened.error["message"]
    nameless = vllm.flm.run("engines", "start", "vllm")
    assert "Name it first" in nameless.error["remedy"]
    assert engine_program.starts(vllm.bin) == []


def test_nothing_is_left_of_an_engine_when_flm_is_killed(vllm: Shop) -> None:
    """kill -9 of the controller: within 5 s neither guard nor engine nor its hidden children."""
    served = vllm.start()
    vllm.flm.tell("engines", "start", "vllm", "--", "one")
    (guard,) = guards(served.controller)
    assert len(vllm.left()) == 4
    os.kill(served.controller, signal.SIGKILL)
    until(lambda: vllm.left() == [] and not alive(guard.pid), "nothing left", 5)


def test_nothing_is_left_when_flm_is_killed_while_the_engine_loads(vllm: Shop) -> None:
    """The same before it ever answered."""
    served = vllm.start()
    (vllm.bin / "hold").touch()
    with ThreadPoolExecutor(1) as asker:
        asker.submit(vllm.flm.run, "engines", "start", "vllm", "--", "one")
        until(lambda: len(vllm.left()) == 4, "the program to run")
        os.kill(served.controller, signal.SIGKILL)
        until(lambda: vllm.left() == [], "nothing left", 5)


def test_an_engine_whose_guard_is_killed_goes_with_it(vllm: Shop) -> None:
    """The controller sees it, ends what is left, and reports the engine as gone."""
    served = vllm.start()
    vllm.flm.tell("engines", "start", "vllm", "--", "one")
    (guard,) = guards(served.controller)
    guard.kill()
    until(lambda: vllm.left() == [], "nothing left", 5)
    until(lambda: vllm.state("vllm") == "error-network", "the truth")
    assert vllm.ask(served, "one").code == "engine_unavailable"
    assert vllm.flm.tell("engines", "start", "vllm")["engine"]["state"] == "running-healthy"
    assert vllm.said(served, "one") == "one"


def test_what_lost_guard_and_controller_at_once_ends_with_the_next_start(vllm: Shop) -> None:
    """What was started is known by a mark that its processes carry."""
    served = vllm.start()
    vllm.flm.tell("engines", "start", "vllm", "--", "one")
    (guard,) = guards(served.controller)
    guard.suspend()
    os.kill(served.controller, signal.SIGKILL)
    guard.kill()
    until(lambda: not alive(guard.pid), "its end")
    vllm.start()
    until(lambda: vllm.left() == [], "nothing left")


def test_an_engine_that_crashes_is_reported_and_not_started_again(vllm: Shop) -> None:
    """Its children end with it. `stop` has it forgotten."""
    vllm.start()
    vllm.flm.tell("engines", "start", "vllm", "--", "one")
    os.kill(vllm.left()[0], signal.SIGSEGV)
    until(lambda: vllm.state("vllm") == "error-network", "the truth")
    assert vllm.seen("vllm")["reason"] == "it ended with code 139"
    assert vllm.left() == []
    vllm.flm.tell("engines", "detect")
    assert vllm.state("vllm") == "error-network"
    vllm.flm.tell("engines", "stop", "vllm")
    until(lambda: vllm.state("vllm") == "installed-only", "it to be forgotten")
    assert len(engine_program.starts(vllm.bin)) == 1


def test_an_engine_that_somebody_else_started_is_not_stopped(vllm: Shop) -> None:
    """The error says who may; starting it again is not needed."""
    vllm.start()
    port = str(vllm.ports["vllm"])
    with psutil.Popen([vllm.bin / "vllm", "serve", "one", "--port", port]) as theirs:
        until(lambda: vllm.flm.tell("engines", "detect") and vllm.state("vllm")[:7] == "running")
        refused = vllm.flm.run("engines", "stop", "vllm")
        assert refused.error["code"] == "not_permitted"
        vllm.flm.tell("engines", "start", "vllm", "--", "one")
        assert alive(theirs.pid)
        assert len(engine_program.starts(vllm.bin)) == 1
        for pid in vllm.left():
            os.kill(pid, signal.SIGKILL)


def test_people_read_what_is_done_and_the_engines_last_words(vllm: Shop) -> None:
    """Without a terminal each step is a line on stderr, the outcome one on stdout."""
    vllm.start()

    def run(*argv: str) -> subprocess.CompletedProcess[str]:
        command = [*FLM, "--data-dir", str(vllm.flm.data), *argv]
        return subprocess.run(
            command, capture_output=True, text=True, env=vllm.flm.environ, check=False
        )

    url = f"http://127.0.0.1:{vllm.ports['vllm']}"
    started = run("engines", "start", "vllm", "--", "one")
    assert started.stdout == f"vllm serves at {url}\n"
    assert started.stderr.splitlines()[-1] == f"vllm is starting at {url}"
    assert run("engines", "stop", "vllm").stdout == "vllm is stopped\n"
    (vllm.bin / "fail").write_text("no \x1b[31mmemory")
    failed = run("engines", "start", "vllm")
    assert failed.stdout == ""
    assert "  vllm is starting\n  no memory\nError: vllm did not start" in failed.stderr


def test_without_a_controller_the_command_says_what_to_start(vllm: Shop) -> None:
    """Engines are started by what runs, never by the command itself."""
    ran = vllm.flm.run("engines", "start", "vllm", "--", "one")
    assert ran.error["code"] == "not_running"
    assert "flm up" in ran.error["remedy"]


def test_names_that_mean_nothing_and_kinds_that_cannot_be_started(vllm: Shop) -> None:
    """Each says what would do; the embedded engine is always there."""
    vllm.start()
    assert vllm.flm.run("engines", "start", "nobody").error["code"] == "not_found"
    assert vllm.flm.run("engines", "start", "llamacpp").error["code"] == "not_found"
    assert vllm.flm.run("engines", "start", "custom").error["code"] == "not_permitted"
    assert vllm.flm.run("engines", "stop", "vllm").error["code"] == "not_found"
    assert vllm.flm.run("engines", "stop", "embedded").error["code"] == "not_permitted"
    assert vllm.flm.run("engines", "start", "embedded").code == 0


def test_ollama_is_started_with_its_variables(tmp_path: Path) -> None:
    """It takes no arguments; where it listens is FLM's word against the user's environment."""
    with shop(tmp_path) as made:
        made.program("ollama", "tiny:latest")
        made.engine("ollama", "ollama")
        made.flm.environ["OLLAMA_HOST"] = "0.0.0.0:1"
        served = made.start()
        made.flm.tell("engines", "start", "ollama", "--", "OLLAMA_NUM_PARALLEL=4")
        assert made.said(served, "tiny") == "tiny:latest"
        refused = made.flm.run("engines", "start", "ollama-2", "--", "OLLAMA_HOST=0.0.0.0")
        assert "let others reach" in refused.error["message"]


def test_llamacpp_listens_before_it_is_ready(tmp_path: Path) -> None:
    """Its 503 while it loads is `starting`; it demands the key it was given in its environment."""
    with shop(tmp_path) as made:
        made.program("llama-server", "small")
        made.engine("llamacpp", "llamacpp")
        served = made.start()
        (made.bin / "hold").touch()
        with ThreadPoolExecutor(1) as asker:
            start = asker.submit(made.flm.tell, "engines", "start", "llamacpp", "--", "-m", "x")
            until(lambda: made.seen("llamacpp")["reason"] == "starting", "the truth")
            (made.bin / "hold").unlink()
            assert start.result()["engine"]["state"] == "running-healthy"
        assert made.said(served, "small") == "small"
        assert call(made.ports["llamacpp"], "/v1/models").status == 401


def test_lm_studio_is_started_and_stopped_by_its_command(tmp_path: Path) -> None:
    """`lms` does not stay; what it started is ended by it, and by the guard where it is not."""
    folder = tmp_path / "home" / ".lmstudio" / "bin"
    with shop(tmp_path) as made:
        engine_program.install(folder, "lms", "phi")
        made.engine("lmstudio", "lmstudio")
        served = made.start()
        made.flm.tell("engines", "start", "lmstudio")
        assert made.said(served, "phi") == "phi"
        assert len(made.left(folder)) == 4
        made.flm.tell("engines", "stop", "lmstudio")
        assert made.left(folder) == []
        assert (folder / "stops").read_text() == '["server", "stop"]\n'
        made.flm.tell("engines", "start", "lmstudio")
        os.kill(served.controller, signal.SIGKILL)
        until(lambda: made.left(folder) == [], "nothing left", 5)


def test_flm_stops_what_it_started_when_it_stops(vllm: Shop) -> None:
    """`flm proxy stop` leaves nothing behind."""
    vllm.start()
    vllm.flm.tell("engines", "start", "vllm", "--", "one")
    vllm.flm.tell("proxy", "stop")
    assert vllm.left() == []
