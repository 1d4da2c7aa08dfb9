"""`flm up` and what is asked of it while it runs: real processes, a real terminal."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import Flm

from flm.domain.keys import KEY_PATTERN
from support.running_flm import started

pytest.importorskip("xllamacpp", reason="pip install 'flm-gateway[embedded]'")
pytestmark = pytest.mark.needs_embedded

FLM = (sys.executable, "-m", "flm")
PATIENCE = 30.0
NO_ENGINES = {"OLLAMA_HOST": "127.0.0.1:1"}


def environ(data_dir: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's variables, with a data directory and no colours."""
    return {**os.environ, "FLM_DATA_DIR": str(data_dir), "TERM": "dumb", **(more or {})}


class Terminal:
    """A command in a terminal of its own: what it shows, and keys to press."""

    def __init__(self, data_dir: Path, *argv: str, **more: str) -> None:
        self.screen = ""
        self.pid, self._terminal = pty.fork()
        if self.pid == 0:
            os.execve(sys.executable, [*FLM, *argv], environ(data_dir, more))

    def shows(self, pattern: str) -> re.Match[str]:
        """Wait until the screen matches."""
        deadline = time.monotonic() + PATIENCE
        while not (found := re.search(pattern, self.screen)):
            assert time.monotonic() < deadline, f"{pattern!r} never came:\n{self.screen}"
            self._read()
        return found

    def _read(self) -> bool:
        try:
            data = os.read(self._terminal, 65536)
        except OSError:  # Linux: the other side has closed the terminal
            return False
        self.screen += data.decode().replace("\r\n", "\n")
        return bool(data)

    def types(self, keys: str) -> None:
        """Press keys."""
        os.write(self._terminal, keys.encode())

    def ends(self) -> int:
        """Wait for its end; the exit code."""
        while self._read():
            pass
        os.close(self._terminal)
        _, status = os.waitpid(self.pid, 0)
        return os.waitstatus_to_exitcode(status)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, Any]]]:
    """A running `flm up --demo`: its data directory and the document it printed."""
    data = tmp_path_factory.mktemp("up") / "data"
    command = [*FLM, "up", "--demo", "--port", "0", "--format", "json"]
    with started(
        command, env=environ(data), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        line = process.stdout.readline()
        assert line, process.stderr.read()
        yield data, json.loads(line)["data"]
        process.send_signal(signal.SIGTERM)
        rest, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, rest, errors) == (0, "", "")


@pytest.fixture
def here(served: tuple[Path, dict[str, Any]], flm: Flm) -> Flm:
    """Runs commands on the data directory that is served."""
    data, _ = served
    return lambda *argv, environ=None: flm(
        *argv, environ={"FLM_DATA_DIR": str(data), "PATH": os.environ["PATH"], **(environ or {})}
    )


def test_the_document_holds_what_a_program_needs(served: tuple[Path, dict[str, Any]]) -> None:
    """Where, with which key, of which process, and what is there."""
    _, data = served

    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/v1", data["base_url"])
    assert data["root_url"] == data["base_url"].removesuffix("/v1")
    assert re.fullmatch(KEY_PATTERN, data["api_key"])
    assert data["api_key"].startswith(f"flm_{data['key_id']}_")
    assert "embedded" in [engine["id"] for engine in data["engines"]]
    assert "flm-demo" in [model["id"] for model in data["models"]]
    os.kill(data["pid"], 0)


def test_a_second_up_tells_what_runs(served: tuple[Path, dict[str, Any]], here: Flm) -> None:
    """Exit code 0, the same address, and no key."""
    _, data = served

    again = here("up", "--format", "json")

    assert again.code == 0
    assert again.data["base_url"] == data["base_url"]
    assert (again.data["api_key"], again.data["key_id"]) == (None, data["key_id"])
    assert again.data["pid"] == data["pid"]


def test_a_second_up_shows_lines_without_the_key(here: Flm) -> None:
    """They take it from the environment, and it is said how to make a new one."""
    text = here("up", "--demo").out

    assert "$FLM_API_KEY" in text
    assert "flm up --new-key" in text
    assert "flm proxy stop" in text
    assert not re.search(KEY_PATTERN, text)


@pytest.mark.parametrize(
    ("flags", "difference"),
    [(("--port", "1"), "--port"), (("--bind", "::1"), "--bind 127.0.0.1, not ::1")],
)
def test_a_second_up_with_other_flags_names_the_difference(
    here: Flm, flags: tuple[str, ...], difference: str
) -> None:
    """Exit code 1; `flm proxy start` says the same."""
    for command in (("up",), ("proxy", "start")):
        ran = here(*command, *flags)
        assert ran.code == 1
        assert difference in ran.err


def test_a_new_key_is_made_while_it_runs(here: Flm) -> None:
    """Shown this once, and good at once."""
    data = here("up", "--new-key", "--format", "json").data

    assert asks(data["base_url"], data["api_key"]) == 200


def test_the_way_to_clients_is_told(here: Flm) -> None:
    """Which ones there are, by the names `flm connect` takes."""
    text = here("up", "--demo").out

    assert "`flm connect CLIENT`" in text
    assert "claude, codex, open-webui, continue, aider, zed, env" in text


def test_both_base_urls_are_told(served: tuple[Path, dict[str, Any]], here: Flm) -> None:
    """OpenAI's with /v1, Anthropic's and Ollama's without; to programs as well."""
    _, data = served
    first, second, *_ = here("up").out.splitlines()
    (handle,) = here("proxy", "status", "--format", "json").data["handles"]

    assert first == f"FLM serves {data['base_url']}"
    assert second == (
        f"  Base URL for OpenAI's clients: {data['base_url']}; for Anthropic's and Ollama's:"
        f" {data['root_url']}"
    )
    assert (handle["base_url"], handle["root_url"]) == (data["base_url"], data["root_url"])


def test_the_lines_work_when_they_are_pasted(here: Flm) -> None:
    """curl and Python, with the key in them."""
    text = here("up", "--new-key").out
    lines = [line.strip() for line in text.splitlines()]
    (curl,) = [line for line in lines if line.startswith("curl ")]
    (python,) = [line for line in lines if line.startswith("python3 ")]

    for line in (curl, python):
        printed = subprocess.run(
            ["/bin/sh", "-c", line], capture_output=True, text=True, timeout=PATIENCE, check=True
        ).stdout
        assert "chat.completion" in printed


def test_revoke_returns_when_the_key_is_refused(here: Flm) -> None:
    """The very next request with it is a 401."""
    made = here("api-keys", "create", "--label", "short", "--format", "json").data
    url = here("proxy", "status", "--format", "json").data["handles"][0]["base_url"]
    before = asks(url, made["api_key"])

    here("api-keys", "revoke", made["id"])

    assert (before, asks(url, made["api_key"])) == (200, 401)


def asks(base_url: str, key: str) -> int:
    """The status of `GET /v1/models` with that key."""
    import urllib.error
    import urllib.request

    request = urllib.request.Request(
        f"{base_url}/models", headers={"Authorization": f"Bearer {key}"}
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=PATIENCE) as response:
            status: int = response.status
            return status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


@pytest.mark.parametrize("flags", [(), ("--stream",)])
def test_a_chat_is_answered_on_stdout(here: Flm, flags: tuple[str, ...]) -> None:
    """Whole or as it comes; a program gets one document either way."""
    ran = here("chat", "--model", "flm-demo", "--prompt", "こんにちは", *flags)
    document = here("chat", "--prompt", "hi", *flags, "--format", "json").data

    assert ran.code == 0
    assert document["model"] == "flm-demo"
    assert document["finish_reason"] in ("stop", "length")
    assert document["usage"]["prompt_tokens"] > 0
    assert document["request_id"].startswith("req_")


def test_a_chat_with_an_unknown_model_is_the_users_to_mend(here: Flm) -> None:
    """With the gateway's own code."""
    ran = here("chat", "--model", "flm-dmo", "--prompt", "hi", "--format", "json")

    assert (ran.code, ran.error["code"]) == (1, "model_not_found")
    assert "flm-demo" in ran.error["message"]


def test_what_was_served_is_in_the_log(here: Flm) -> None:
    """Under the owner's key, found by status and by model."""
    request = here("chat", "--prompt", "hi", "--format", "json").data["request_id"]
    deadline = time.monotonic() + PATIENCE
    records = []
    while request not in [record["request_id"] for record in records]:
        assert time.monotonic() < deadline
        found = here("logs", "--status", "ok", "--model", "flm-demo", "--format", "json")
        records = found.data["records"]
    (record,) = [each for each in records if each["request_id"] == request]

    assert (record["key_id"], record["engine"], record["status"]) == ("owner", "embedded", 200)
    assert record["error"] is None
    assert record["tokens_out"] > 0
    assert request in here("logs", "--key", "owner").out
    assert here("logs", "--status", "500-599", "--format", "json").data["records"] == []


def test_the_status_is_told_to_people(here: Flm) -> None:
    """Address, processes, engines and models."""
    text = here("proxy", "status").out

    assert re.search(r"Address +http://127\.0\.0\.1:\d+/v1  \(api\)", text)
    assert re.search(r"Gateway +process \d+", text)
    assert re.search(r"Models +.*flm-demo", text)


def test_a_background_flm_starts_and_stops(flm: Flm) -> None:
    """With its handle; starting twice is no error, stopping twice neither."""
    started = flm("proxy", "start", "--port", "0", "--format", "json").data
    again = flm("proxy", "start")
    stopped = flm("proxy", "stop", "--format", "json").data

    assert started["handles"][0]["handle"] == "api"
    assert "It ran already." in again.err
    assert stopped == {"stopped": True, "pid": started["pid"]}
    assert flm("proxy", "status", "--format", "json").data == {"running": False}


def test_a_port_that_is_taken_is_told_and_costs_no_key(data_dir: Path, flm: Flm) -> None:
    """The key that first use makes is not lost unseen: the next start shows one."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        failed = subprocess.run(
            [*FLM, "up", "--port", port, "--format", "json"],
            env=environ(data_dir, NO_ENGINES),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    keys = flm("api-keys", "list", "--format", "json").data["keys"]

    assert (failed.returncode, failed.stdout) == (1, "")
    assert json.loads(failed.stderr.splitlines()[-1])["error"]["code"] == "port_taken"
    assert [key["state"] for key in keys if key["state"] == "active"] == []


def test_two_first_starts_at_once_are_one(data_dir: Path, flm: Flm) -> None:
    """One serves and shows the key, the other tells what serves; the key that was shown holds."""
    command = [*FLM, "up", "--port", "0", "--format", "json"]
    pair = [
        subprocess.Popen(
            command,
            env=environ(data_dir, NO_ENGINES),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    told = [json.loads(each.stdout.readline())["data"] for each in pair if each.stdout]
    used = [asks(told[0]["base_url"], each["api_key"]) for each in told if each["api_key"]]
    flm("proxy", "stop")
    for each in pair:
        each.communicate(timeout=PATIENCE)

    assert told[0]["base_url"] == told[1]["base_url"]
    assert used == [200]
    assert [each.returncode for each in pair] == [0, 0]


def test_a_first_start_in_a_terminal(data_dir: Path) -> None:
    """The key is shown once, Ctrl-C ends it, and the next start does not show it again."""
    first = Terminal(data_dir, "up", "--demo", "--port", "0")
    first.shows(r"Key, shown this once")
    key = first.shows(KEY_PATTERN)[0]
    first.shows("Stop with Ctrl-C")
    first.types("\x03")
    assert first.ends() == 0
    assert "gibberish" in first.screen
    assert "Traceback" not in first.screen

    second = Terminal(data_dir, "up", "--demo", "--port", "0", FLM_LANG="ja")
    second.shows("Ctrl-C で止まります")
    second.types("\x03")
    assert second.ends() == 0
    assert key not in second.screen
    assert "$FLM_API_KEY" in second.screen


def test_without_an_engine_a_person_is_offered_what_can_be_done(
    data_dir: Path, tmp_path: Path
) -> None:
    """A file that is none is told and asked for again; the demo is there for everybody."""
    wrong = tmp_path / "wrong.gguf"
    wrong.write_text("no model")
    terminal = Terminal(data_dir, "up", "--port", "0", **NO_ENGINES)

    terminal.shows(r"Looked for: Ollama, vLLM, LM Studio")
    terminal.shows(r"What shall it be\? \[3\] ")
    terminal.types("1\n")
    terminal.shows("The file's path: ")
    terminal.types(f"{wrong}\n")
    terminal.shows("is no GGUF model")
    terminal.types("3\n")
    terminal.shows("flm-demo")
    terminal.shows("Stop with Ctrl-C")
    terminal.types("\x03")

    assert terminal.ends() == 0


def test_an_offer_can_be_left_with_ctrl_c(data_dir: Path) -> None:
    """Nothing is started; exit code 130, as shells expect."""
    terminal = Terminal(data_dir, "up", "--port", "0", **NO_ENGINES)
    terminal.shows(r"What shall it be\? \[3\] ")
    terminal.types("\x03")

    assert terminal.ends() == 130
    assert "Traceback" not in terminal.screen


def test_without_an_engine_and_a_person_it_serves_and_says_how_to_add_one(data_dir: Path) -> None:
    """A service manager's start must not wait for an answer."""
    with started(
        [*FLM, "up", "--port", "0"],
        env=environ(data_dir, NO_ENGINES),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        shown = ""
        while "Stop with Ctrl-C" not in shown:
            line = process.stdout.readline()
            assert line
            shown += line
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE)

    assert process.returncode == 0
    assert "flm engines add NAME --url URL" in errors
    assert "/v1/models" in shown


def test_another_flm_on_the_path_is_pointed_out(here: Flm, tmp_path: Path) -> None:
    """FastFlowLM has a program of that name; another FLM is none."""
    other = tmp_path / "bin" / "flm"
    other.parent.mkdir()
    other.write_text("#!/bin/sh\necho FastFlowLM\n")
    other.chmod(0o755)

    warned = here("up", environ={"PATH": f"{other.parent}:{os.environ['PATH']}"})
    other.write_text("#!/usr/bin/python3\nfrom flm.cli import main\nmain()\n")
    silent = here("up", environ={"PATH": f"{other.parent}:{os.environ['PATH']}"})

    assert f"another program, {other}" in warned.err
    assert silent.err == ""
