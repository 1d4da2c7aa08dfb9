"""The composition root: everything wired for real, in processes as users start them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from flm.app import open_services
from flm.domain.models import GgufFile
from flm.errors import Conflict, NotRunning
from flm.ports.processes import current
from flm.wire.control import Status

UP = """
import json, sys
from flm.serving import RunOptions, run_foreground

def started(status, first):
    told = {"url": status.handles[0].base_url, "pid": status.pid, "demo": status.demo,
            "key": first and first.clear, "models": [model.name for model in status.models]}
    print(json.dumps(told), flush=True)

sys.exit(run_foreground(
    RunOptions(data_dir=sys.argv[1], environ={}, overrides={"server.port": 0},
               demo=sys.argv[2] == "demo"),
    started,
))
"""


class Up:
    """A controller in the foreground of a process group of its own."""

    def __init__(self, data: Path, demo: bool = False) -> None:
        self.data = data
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", UP, str(data), "demo" if demo else ""],
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        self.told = json.loads(self.process.stdout.readline())

    def __enter__(self) -> Up:
        return self

    def __exit__(self, *_: object) -> None:
        """Whatever the test did: the process is gone, and with it all that it started."""
        self.process.kill()
        with self.process:
            pass

    def family(self) -> list[psutil.Process]:
        """Every process it has started."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def end(self, number: int) -> int:
        """Send a signal to the whole group; the exit code."""
        os.killpg(self.process.pid, number)
        return self.process.wait(20)


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    """A data directory that is not there yet; what serves it in the end is stopped."""
    yield tmp_path / "data"
    open_services(str(tmp_path / "data")).proxies.stop()


def status_of(data: Path) -> Status:
    """What runs there."""
    status = open_services(str(data)).proxies.status()
    assert status is not None
    return status


def until_asleep(data: Path) -> None:
    """Wait until the controller knows that its model is not loaded any more."""
    deadline = time.monotonic() + 20
    while any(model.loaded for model in status_of(data).models):
        assert time.monotonic() < deadline, "the model's end is not seen"


def ask(url: str, path: str, key: str, body: object = None) -> dict[str, object]:
    """A JSON answer of the gateway."""
    request = urllib.request.Request(
        url + path,
        data=None if body is None else json.dumps(body).encode(),
        headers={"authorization": f"Bearer {key}", "content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        answer: dict[str, object] = json.load(response)
    return answer


def test_first_use_makes_everything_and_a_key_that_works(data: Path) -> None:
    """The key is told once: the next start finds it and makes none."""
    up = Up(data)
    with up:
        assert ask(up.told["url"], "/models", up.told["key"])["object"] == "list"
        assert status_of(data).foreground is True
        assert up.end(signal.SIGTERM) == 0
    assert data.stat().st_mode & 0o777 == 0o700
    again = Up(data)
    with again:
        assert again.told["key"] is None
        assert again.end(signal.SIGINT) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_whole_group_ends_everything_in_order(data: Path, number: int) -> None:
    """As Ctrl-C in a terminal and service managers send it; nothing is left."""
    up = Up(data)
    with up:
        family = up.family()
        assert up.end(number) == 0
    assert psutil.wait_procs(family, timeout=5)[1] == []
    assert open_services(str(data)).proxies.status() is None


def test_a_foreground_controller_is_stopped_like_any_other(data: Path) -> None:
    """`flm proxy stop` ends it; the process leaves with 0."""
    up = Up(data)
    with up:
        stopped = open_services(str(data)).proxies.stop()
        assert stopped is not None
        assert stopped.foreground is True
        assert up.process.wait(20) == 0


def test_a_second_start_in_the_foreground_is_a_conflict(data: Path) -> None:
    """The first one goes on."""
    up = Up(data)
    with up:
        second = subprocess.run(
            [sys.executable, "-P", "-c", UP, str(data), ""], capture_output=True, check=False
        )
        assert second.returncode == 1
        assert b"is served already" in second.stderr
        assert ask(up.told["url"], "/models", up.told["key"])["data"] == []
        up.end(signal.SIGTERM)


def test_a_detached_controller_makes_no_key_that_nobody_sees(data: Path) -> None:
    """There is nobody to show it to."""
    with open_services(str(data)) as services:
        services.proxies.start_detached(port=0)
        assert services.keys.all() == []
        assert services.proxies.owner_key().startswith("flm_FLM0owner0_")


def test_settings_come_from_the_store_and_the_environment(data: Path) -> None:
    """What is set before a start holds in it; the command line goes before both."""
    free = current().listen("127.0.0.1", 0, 1)
    port = free.getsockname()[1]
    free.close()
    with open_services(str(data)) as services:
        services.settings.set("server.port", str(port))
        assert services.proxies.start_detached().handles[0].port == port
        services.proxies.stop()
        other = services.proxies.start_detached(port=0)
        assert other.handles[0].port != port


def test_a_change_by_a_command_is_in_force_when_it_returns(data: Path) -> None:
    """Keys and engines through the same services that the command line uses."""
    with open_services(str(data)) as services:
        url = services.proxies.start_detached(port=0).handles[0].base_url
        key, clear = services.keys.create("laptop")
        assert ask(url, "/models", clear)["data"] == []
        services.keys.revoke(key.id)
        with pytest.raises(urllib.error.HTTPError, match="401"):
            ask(url, "/models", clear)
        services.engines.add("mine", "http://127.0.0.1:9/v1")
        engines = services.proxies.detect().engines
        assert [engine.id for engine in engines if engine.source == "added"] == ["mine"]


def test_detection_without_a_controller_looks_itself_and_remembers(data: Path) -> None:
    """The next start begins with what was found."""
    with open_services(str(data)) as services:
        services.engines.add("mine", "http://127.0.0.1:9/v1")
        found = services.detection.detect()
        assert "mine" in [engine.id for engine in found.engines]
        assert services.detection.known().engines != ()
        assert [model for model in found.models if model.engine == "mine"] == []


def test_the_store_of_a_controller_of_another_version_is_left_alone(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command never migrates what another version serves."""
    open_services(str(data)).proxies.start_detached(port=0)
    monkeypatch.setattr("flm.app.__version__", "9.9.9")
    with (
        open_services(str(data)) as services,
        pytest.raises(Conflict, match=r"this is FLM 9\.9\.9"),
    ):
        services.keys.all()


def test_a_damaged_setting_fails_the_start_with_its_name(data: Path) -> None:
    """The error comes to who started it, with its own class."""
    from flm.errors import InvalidValue

    with open_services(str(data)) as services:
        services.store.settings.set("embedded.parallel", '"many"')
        with pytest.raises(InvalidValue, match=r"embedded\.parallel"):
            services.proxies.start_detached(port=0)
        with pytest.raises(NotRunning):
            services.proxies.owner_key()


@pytest.mark.needs_embedded
def test_the_demo_serves_a_model_from_first_use_to_the_end_of_its_child(data: Path) -> None:
    """Asleep, woken by the first request, back after a crash, ended with the controller."""
    pytest.importorskip("xllamacpp", reason="pip install 'flm-gateway[embedded]'")
    up = Up(data, demo=True)
    question = {
        "model": "flm-demo", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4,
    }  # fmt: skip
    with up:
        assert (up.told["models"], up.told["demo"]) == (["flm-demo"], True)
        before = {process.pid for process in up.family()}
        first = ask(up.told["url"], "/chat/completions", up.told["key"], question)
        assert first["object"] == "chat.completion"
        (child,) = [process for process in up.family() if process.pid not in before]
        child.kill()
        child.wait(20)
        until_asleep(data)
        again = ask(up.told["url"], "/chat/completions", up.told["key"], question)
        assert again["object"] == "chat.completion"
        family = up.family()
        os.kill(up.process.pid, signal.SIGKILL)
        up.process.wait()
        assert psutil.wait_procs(family, timeout=5)[1] == []
    with open_services(str(data)) as services:
        services.proxies.start_detached(port=0)
        files = [file for file in services.store.files.all() if file.demo]
        assert [type(file) for file in files] == [GgufFile]
        status = services.proxies.status()
        assert status is not None
        assert [model.name for model in status.models] == []
