"""Engines that a request starts, that stop when nobody asks, and that make room for each other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import e2e_later
import pytest
from e2e_house import call
from e2e_programs import Shop, shop

from support import engine_program
from support.running_flm import FLM, Served, started, until

TRUE = {"autostart": "true", "arguments": '["model"]'}


@pytest.fixture
def vllm(tmp_path: Path) -> Iterator[Shop]:
    """A `vllm` that requests may start, once its model `one` was seen."""
    with shop(tmp_path) as made:
        made.program("vllm", "one")
        made.engine("vllm", "vllm", **TRUE)
        yield made


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Shop]:
    """Two engines of one group, `vllm-a` with the model `a` and `vllm-b` with `b`."""
    with shop(tmp_path) as made:
        for name in ("a", "b"):
            folder = tmp_path / name
            engine_program.install(folder, "vllm", name)
            made.engine(f"vllm-{name}", "vllm", folder, exclusive_group="gpu", **TRUE)
        yield made


def asleep(made: Shop, name: str, served: Served, model: str) -> None:
    """Have the model of an engine known, and the engine stopped."""
    made.flm.tell("engines", "start", name)
    assert made.said(served, model) == model
    made.flm.tell("engines", "stop", name)
    assert state(made, served, model) == "sleeping"


def state(made: Shop, served: Served, model: str) -> str:
    """What the gateway says of a model."""
    return str(call(served.port, f"/v1/models/{model}", made.key).json["state"])


def test_twenty_requests_share_the_one_start(vllm: Shop) -> None:
    """All wait while it loads, and all are answered."""
    served = vllm.start()
    asleep(vllm, "vllm", served, "one")
    (vllm.bin / "hold").touch()
    with ThreadPoolExecutor(20) as clients:
        answers = [clients.submit(vllm.said, served, "one") for _ in range(20)]
        until(lambda: len(engine_program.starts(vllm.bin)) == 2, "the start")
        assert vllm.seen("vllm")["reason"] == "starting"
        (vllm.bin / "hold").unlink()
        assert [answer.result() for answer in answers] == ["one"] * 20
    assert len(engine_program.starts(vllm.bin)) == 2


def test_who_stops_an_engine_hears_that_a_request_starts_it_again(vllm: Shop) -> None:
    """Where one does; else it is only stopped."""
    served = vllm.start()
    stop = [*FLM, "--data-dir", str(vllm.flm.data), "engines", "stop", "vllm"]
    vllm.flm.tell("engines", "start", "vllm")
    assert vllm.said(served, "one") == "one"
    told = subprocess.run(stop, capture_output=True, text=True, env=vllm.flm.environ, check=True)
    assert told.stdout == (
        "vllm is stopped; the next request for one of its models starts it again, as "
        "engines.vllm.autostart is on\n"
    )
    assert vllm.said(served, "one") == "one"
    vllm.flm.tell("config", "set", "engines.vllm.autostart", "false")
    told = subprocess.run(stop, capture_output=True, text=True, env=vllm.flm.environ, check=True)
    assert told.stdout == "vllm is stopped\n"


def test_a_sleeping_engine_is_still_known_after_a_restart(vllm: Shop) -> None:
    """Its models are those it had when it served last."""
    asleep(vllm, "vllm", vllm.start(), "one")
    vllm.flm.tell("proxy", "stop")
    served = vllm.start()
    assert state(vllm, served, "one") == "sleeping"
    vllm.flm.tell("engines", "detect")
    assert vllm.state("vllm") == "installed-only"
    assert vllm.said(served, "one") == "one"


def test_without_autostart_a_stopped_engine_has_no_models(vllm: Shop) -> None:
    """Turned off, they go; turned on again, the engine has to be seen once."""
    served = vllm.start()
    asleep(vllm, "vllm", served, "one")
    vllm.flm.tell("config", "set", "engines.vllm.autostart", "false")
    assert vllm.ask(served, "one").status == 404
    assert len(engine_program.starts(vllm.bin)) == 1


def test_a_start_that_fails_is_told_to_who_waited(vllm: Shop) -> None:
    """503 without the engine's words, which may name files; the next request tries again."""
    served = vllm.start()
    asleep(vllm, "vllm", served, "one")
    (vllm.bin / "fail").write_text("/secret/path is broken")
    failed = vllm.ask(served, "one")
    assert (failed.status, failed.code) == (503, "engine_start_failed")
    assert b"secret" not in failed.body
    (vllm.bin / "fail").unlink()
    assert vllm.said(served, "one") == "one"


def test_an_engine_that_crashed_comes_back_with_the_next_request(vllm: Shop) -> None:
    """Not before: what crashes is not started in a circle."""
    served = vllm.start()
    asleep(vllm, "vllm", served, "one")
    assert vllm.said(served, "one") == "one"
    os.kill(vllm.left()[0], signal.SIGKILL)
    until(lambda: vllm.state("vllm") == "error-network", "the truth")
    assert state(vllm, served, "one") == "sleeping"
    assert vllm.left() == []
    assert vllm.said(served, "one") == "one"
    assert vllm.state("vllm") == "running-healthy"


def test_an_engine_that_was_started_outside_is_used(vllm: Shop) -> None:
    """The sleeping model has its home where the user runs it; FLM starts no second one."""
    served = vllm.start()
    asleep(vllm, "vllm", served, "one")
    command = [vllm.bin / "vllm", "serve", "one", "--port", str(vllm.ports["vllm"])]
    with started(command, stdout=subprocess.DEVNULL) as theirs:
        until(lambda: len(engine_program.starts(vllm.bin)) == 2, "theirs")
        until(lambda: vllm.flm.tell("engines", "detect") and vllm.state("vllm")[:7] == "running")
        assert vllm.said(served, "one") == "one"
        assert len(engine_program.starts(vllm.bin)) == 2
        for pid in vllm.left():
            os.kill(pid, signal.SIGKILL)
        theirs.wait()


def test_an_idle_engine_is_stopped_and_comes_back(vllm: Shop, tmp_path: Path) -> None:
    """After `idle_stop` minutes without a request, on a clock of the test's own."""
    vllm.flm.tell("config", "set", "engines.vllm.idle_stop", "2")
    offset = tmp_path / "offset"
    offset.write_text("0")
    command = [sys.executable, "-P", e2e_later.__file__, str(offset), "--data-dir"]
    command += [str(vllm.flm.data), "--port", "0"]
    with started(command, env=vllm.flm.environ):
        with vllm.flm.services() as services:
            until(lambda: services.proxies.status(wait=10), "the start")
        served = Served(vllm.flm, vllm.flm.status())
        vllm.flm.tell("engines", "start", "vllm")
        assert vllm.said(served, "one") == "one"
        offset.write_text("121")
        until(lambda: not vllm.left(), "its end")
        assert state(vllm, served, "one") == "sleeping"
        assert vllm.said(served, "one") == "one"
        vllm.flm.tell("proxy", "stop")


def test_engines_of_one_group_take_turns_and_no_request_is_lost(pair: Shop, tmp_path: Path) -> None:
    """Eight clients ask both in turn; never do both run at once."""
    served = pair.start()
    asleep(pair, "vllm-a", served, "a")
    asleep(pair, "vllm-b", served, "b")
    asked = ["a", "b"] * 16
    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(lambda model: pair.said(served, model), asked))
    assert answers == asked
    log = (pair.flm.data / "controller.log").read_text()
    assert "made room for" in log
    left = [len(pair.left(tmp_path / name)) for name in ("a", "b")]
    assert sorted(left) == [0, 4]


def test_a_running_request_ends_before_its_engine_makes_room(pair: Shop, tmp_path: Path) -> None:
    """The swap waits for it."""
    served = pair.start()
    asleep(pair, "vllm-b", served, "b")
    pair.flm.tell("engines", "start", "vllm-a")
    (tmp_path / "a" / "slow").write_text("1.5")
    with ThreadPoolExecutor(2) as clients:
        slow = clients.submit(pair.said, served, "a")
        until(lambda: pair.flm.status()["gateway"]["in_flight"], "it to run")
        other = clients.submit(pair.said, served, "b")
        assert (slow.result(), other.result()) == ("a", "b")
    assert pair.left(tmp_path / "a") == []


def test_an_engine_of_the_group_that_flm_did_not_start_is_in_the_way(
    pair: Shop, tmp_path: Path
) -> None:
    """It is left alone, and the error says who has to stop it."""
    served = pair.start()
    asleep(pair, "vllm-b", served, "b")
    folder = tmp_path / "a"
    command = [folder / "vllm", "serve", "a", "--port", str(pair.ports["vllm-a"])]
    with started(command, stdout=subprocess.DEVNULL) as theirs:
        until(lambda: pair.flm.tell("engines", "detect") and pair.state("vllm-a")[:7] == "running")
        refused = pair.ask(served, "b")
        assert (refused.status, refused.code) == (503, "engine_group_busy")
        assert "vllm-a" in refused.json["error"]["message"]
        told = pair.flm.run("engines", "start", "vllm-b")
        assert told.error["remedy"] == "Stop vllm-a where it was started."
        for pid in pair.left(folder):
            os.kill(pid, signal.SIGKILL)
        theirs.wait()


def test_asking_for_the_other_one_by_hand_swaps_too(pair: Shop, tmp_path: Path) -> None:
    """`flm engines start` has the other one make room."""
    pair.start()
    pair.flm.tell("engines", "start", "vllm-a")
    pair.flm.tell("engines", "start", "vllm-b")
    assert pair.left(tmp_path / "a") == []
    assert len(pair.left(tmp_path / "b")) == 4
