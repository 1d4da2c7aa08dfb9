"""`flm up` and `flm proxy`: first use, second start, what is refused, what is true of what runs."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from e2e_house import accepts, sdk

from support.running_flm import Flm, Up, alive, until

UID = 4242
"""A user this machine need not know."""


def mode(path: Path) -> int:
    """The permission bits of a file."""
    return stat.S_IMODE(path.stat().st_mode)


def test_the_first_up_makes_everything_and_says_it_in_one_document(flm: Flm) -> None:
    """The issue's own: exactly these fields, once requests are answered, and a key that works."""
    with flm.up("--demo") as up:
        up.ready()
        assert list(up.told) == [
            *("base_url", "root_url", "api_key", "key_id", "pid", "engines", "models")
        ]
        assert up.base_url == f"http://127.0.0.1:{up.port}/v1"
        assert up.controller == up.process.pid
        assert up.told["api_key"].startswith(f"flm_{up.told['key_id']}_")
        assert [each["id"] for each in up.told["models"]] == ["flm-demo"]
        assert [each["id"] for each in up.told["engines"]] == ["embedded"]
        with sdk(up, up.told["api_key"]) as client:
            answer = client.chat.completions.create(
                model="flm-demo", messages=[{"role": "user", "content": "hi"}]
            )
        assert answer.choices[0].finish_reason in ("stop", "length")
        os.kill(up.controller, signal.SIGTERM)
        assert up.wait().out == ""
        assert up.process.returncode == 0


def test_a_data_directory_is_private(flm: Flm) -> None:
    """Directories 0700 and files 0600, while it is served: databases, secrets, logs, socket."""
    with flm.up() as up:
        up.ready()
        inside = list(flm.data.rglob("*"))
        names = {path.name for path in inside}
        assert {"config.db", "security.db", "telemetry.db", "pepper", "controller.lock"} <= names
        assert {mode(path) for path in (flm.data, *inside) if path.is_dir()} == {0o700}
        assert {mode(path) for path in inside if not path.is_dir()} == {0o600}


def test_later_starts_show_no_key_and_new_key_makes_one(flm: Flm) -> None:
    """`api_key` is null and the old key works; with --new-key there is another that works too."""
    with flm.up("--demo") as up:
        first = up.ready().told
        assert flm.tell("proxy", "stop") == {"stopped": True, "pid": up.controller}
        assert up.wait().code == 0
    with flm.up("--demo") as up:
        second = up.ready().told
        assert (second["api_key"], second["key_id"]) == (None, first["key_id"])
        assert accepts(up.port, first["api_key"]) == 200
        made = flm.tell("up", "--new-key")
        assert made["key_id"] != first["key_id"]
        assert accepts(up.port, made["api_key"]) == 200
        assert made["pid"] == up.controller


def test_what_is_served_already_is_told_when_the_flags_agree(flm: Flm) -> None:
    """Exit code 0, the same address and process; nothing is served twice."""
    with flm.up("--demo") as up:
        up.ready()
        again = flm.tell("up", "--port", str(up.port), "--demo", "--bind", "127.0.0.1")
        assert (again["base_url"], again["pid"]) == (up.base_url, up.controller)
        assert again["api_key"] is None
        started = flm.start("--port", str(up.port))
        assert started.controller == up.controller


@pytest.mark.parametrize(
    ("flags", "difference"),
    [
        (("--port", "1"), "--port"),
        (("--bind", "127.0.0.2"), "--bind 127.0.0.1, not 127.0.0.2"),
        (("--demo",), "demo"),
    ],
)
@pytest.mark.parametrize("command", [("up",), ("proxy", "start")])
def test_what_is_served_otherwise_is_refused_naming_the_difference(
    served_plainly: Flm, command: tuple[str, ...], flags: tuple[str, ...], difference: str
) -> None:
    """Exit code 1, and what runs goes on."""
    before = served_plainly.status()
    refused = served_plainly.run(*command, *flags)
    assert (refused.code, refused.error["code"]) == (1, "already_running")
    assert difference in refused.error["message"]
    assert served_plainly.status()["pid"] == before["pid"]


def test_started_twice_at_once_on_one_port_is_one_controller(flm: Flm) -> None:
    """Whoever comes second is told what the first one started."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = flm.command("proxy", "start", "--port", str(port))
    both = [
        subprocess.Popen(command, env=flm.environ, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    told = [each.communicate(timeout=60)[0] for each in both]
    assert [each.returncode for each in both] == [0, 0], told
    pid = flm.status()["pid"]
    assert all(f'"pid": {pid}' in each for each in told)


def test_two_first_ups_at_once_are_one_and_the_key_that_was_shown_works(flm: Flm) -> None:
    """One serves, the other tells what serves and leaves; neither takes the other's key away."""
    for attempt in range(3):
        both = Flm(flm.data.with_name(f"both{attempt}"))
        with both.up() as one, Up(both, both.command("up", "--port", "0"), {}) as other:
            told = [one.ready().told, other.ready().told]
            assert told[0]["pid"] == told[1]["pid"]
            (key,) = [each["api_key"] for each in told if each["api_key"] is not None]
            assert accepts(one.port, key) == 200
            both.tell("proxy", "stop")
            assert (one.wait().code, other.wait().code) == (0, 0)


def test_a_port_that_is_taken_is_refused_with_the_name_of_who_has_it(flm: Flm) -> None:
    """Exit code 1 for `up` and `proxy start` alike, and nothing stays."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for command in (("up",), ("proxy", "start")):
            refused = flm.run(*command, "--port", port)
            assert (refused.code, refused.error["code"]) == (1, "port_taken")
            assert f"(process {os.getpid()})" in refused.error["message"]
            assert f"Port {port} is taken by " in refused.error["message"]
    assert flm.status() == {"running": False}


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.168.1.10", "fe80::1"])
def test_an_address_beyond_loopback_is_refused_with_the_reason(flm: Flm, address: str) -> None:
    """Keys and prompts could be read on the way."""
    refused = flm.run("up", "--bind", address)
    assert (refused.code, refused.error["code"]) == (1, "not_permitted")
    assert "could read keys and prompts" in refused.error["message"]
    assert not flm.data.exists()


def test_without_any_engine_up_serves_and_says_so(flm: Flm) -> None:
    """No model, an empty list, and a 404 that tells it."""
    with flm.up() as up:
        up.ready()
        assert up.told["models"] == []
        with sdk(up, up.told["api_key"]) as client:
            assert list(client.models.list()) == []


def test_status_is_true_when_nothing_ever_ran(flm: Flm) -> None:
    """Exit code 0, and nothing is made for the question."""
    assert flm.status() == {"running": False}
    assert flm.tell("proxy", "stop") == {"stopped": False, "pid": None}


def test_a_stopped_proxy_is_gone_with_all_its_processes(flm: Flm) -> None:
    """When `stop` returns nothing of it runs, and its port is free."""
    served = flm.start("--demo")
    gateway = served.gateway()
    assert flm.tell("proxy", "stop") == {"stopped": True, "pid": served.controller}
    assert not alive(gateway)
    assert flm.status() == {"running": False}
    until(lambda: not alive(served.controller), "its exit", 2)
    with socket.create_server(("127.0.0.1", served.port)):
        pass


def test_another_environment_sees_what_runs(flm: Flm) -> None:
    """As from cron: no HOME, no XDG directories, hardly a PATH."""
    served = flm.start()
    bare = Flm(flm.data)
    bare.environ = {"PATH": "/usr/bin:/bin"}
    assert bare.status()["pid"] == served.controller
    assert bare.tell("proxy", "stop")["stopped"] is True
    assert flm.status() == {"running": False}


def test_a_start_from_a_bare_environment_is_seen_by_others(flm: Flm) -> None:
    """The other way round, with a runtime directory that the first one did not know."""
    bare = Flm(flm.data)
    bare.environ = {"PATH": "/usr/bin:/bin"}
    served = bare.start()
    flm.environ["XDG_RUNTIME_DIR"] = str(flm.data.parent)
    assert flm.status()["pid"] == served.controller


def test_a_long_path_is_served_and_found(tmp_path: Path) -> None:
    """A UNIX socket's path ends at 104 bytes, a data directory's does not."""
    far = Flm(tmp_path / ("long" * 30) / "データ")
    served = far.start()
    assert far.status()["pid"] == served.controller
    far.close()


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="needs root: sudo")
@pytest.mark.parametrize(
    "command", [("proxy", "status"), ("proxy", "start"), ("proxy", "stop"), ("up",), ("logs",)]
)
def test_another_users_data_directory_is_refused_naming_the_user(
    flm: Flm, command: tuple[str, ...]
) -> None:
    """Also for root, which would lock its owner out by what it writes."""
    flm.data.mkdir(mode=0o700)
    os.chown(flm.data, UID, UID)
    refused = flm.run(*command)
    assert (refused.code, refused.error["code"]) == (1, "not_permitted")
    assert f"#{UID}" in refused.error["message"]
    assert "sudo -u" in refused.error["remedy"]
    assert list(flm.data.iterdir()) == []
    os.chown(flm.data, 0, 0)


def test_a_controller_that_was_killed_is_never_told_as_running(flm: Flm) -> None:
    """At once after kill -9; the next start works at once, on the same port."""
    served = flm.start()
    os.kill(served.controller, signal.SIGKILL)
    until(lambda: not alive(served.controller), "the controller's end")
    assert flm.status() == {"running": False}
    again = flm.start("--port", str(served.port))
    assert again.port == served.port
    assert flm.status()["pid"] == again.controller


def test_a_controller_that_hangs_is_told_as_that(flm: Flm) -> None:
    """Neither running nor gone: exit code 2, with its pid and what to do."""
    served = flm.start()
    os.kill(served.controller, signal.SIGSTOP)
    try:
        stuck = flm.run("proxy", "status")
    finally:
        os.kill(served.controller, signal.SIGCONT)
    assert (stuck.code, stuck.error["code"]) == (2, "not_answering")
    assert str(served.controller) in stuck.error["message"]
    assert flm.status()["pid"] == served.controller
