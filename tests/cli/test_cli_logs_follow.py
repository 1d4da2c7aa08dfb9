"""`flm logs`: what a record tells, and `flm logs --follow` as a process of its own."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.cli.conftest import Flm
from tests.support.running_flm import FLM, PATIENCE

from flm.domain.records import RecordDetails, RequestRecord, Try
from flm.paths import data_paths, prepare
from flm.ports.repositories import Store
from flm.ports.telemetry import Checkpoint
from flm.store import migrate, open_store

DETAILS = RecordDetails(
    tries=(Try("ollama/m", "engine_overloaded"), Try("vllm/m", "engine_unavailable")),
    template="polite@2", profile="precise", remote=True, dropped=("user",),
)  # fmt: skip


def record(id_: str, **changes: object) -> RequestRecord:
    plain = {
        "time": 1_767_225_600.0, "key_id": "k", "model": "m", "engine": "e", "route": "/r",
        "status": 200, "error": "", "latency_ms": 1_100.0, "first_token_ms": 100.0,
        "tokens_in": 10, "tokens_out": 51, "client": "c", "streamed": True, "cached_tokens": 4,
        "reasoning_tokens": 5, "estimated": True, "api": "helper",
        "details": msgspec.json.encode(DETAILS).decode(),
    }  # fmt: skip
    return RequestRecord(id=id_, **{**plain, **changes})


@pytest.fixture
def store(data_dir: Path) -> Iterator[Store]:
    """The store of the command's data directory; nothing runs."""
    paths = data_paths(data_dir)
    prepare(paths)
    migrate(paths)
    with closing(open_store(paths)) as opened:
        yield opened


def keep(store: Store, *records: RequestRecord) -> None:
    store.records.store("i", records, Checkpoint(1, 1))


def test_a_record_tells_programs_all_of_itself(flm: Flm, store: Store):
    """The publication, what was shaped, tried and dropped, and how sure the tokens are."""
    keep(store, record("a"), record("b", api="", details="", estimated=False, time=1.0))
    full, plain = flm("logs", "--format", "json").data["records"]
    told = {
        "api": "helper", "cached_tokens": 4, "reasoning_tokens": 5, "estimated": True,
        "tokens_per_second": 50.0, "remote": True, "prompt_template": "polite@2",
        "profile": "precise", "dropped": ["user"],
        "tries": [
            {"target": "ollama/m", "error": "engine_overloaded"},
            {"target": "vllm/m", "error": "engine_unavailable"},
        ],
    }  # fmt: skip
    assert {name: full[name] for name in told} == told
    assert {name: plain[name] for name in told} == {
        **told, "api": None, "estimated": False, "remote": False, "prompt_template": None,
        "profile": None, "dropped": [], "tries": [],
    }  # fmt: skip


def test_a_record_tells_people_in_columns(flm: Flm, store: Store):
    """A guess is marked."""
    keep(store, record("a"))
    heading, row = flm("logs").out.splitlines()
    assert heading.endswith(
        "Client  API     Cached  Thoughts  Tokens a second  Remote  Tried before"
    )
    assert "  ~10        ~51         c       helper  4       5         50.0 " in row
    assert row.endswith("remote  ollama/m (engine_overloaded), vllm/m (engine_unavailable)")


@pytest.mark.parametrize(
    ("flags", "found"),
    [(("--api", "helper"), ["a"]), (("--engine", "f"), ["b"]), (("--api", "x"), [])],
)
def test_records_are_found_by_engine_and_api(
    flm: Flm, store: Store, flags: tuple[str, ...], found: list[str]
):
    """Both are filters like the others."""
    keep(store, record("a"), record("b", engine="f", api=""))
    records = flm("logs", *flags, "--format", "json").data["records"]
    assert [each["request_id"] for each in records] == found


class Following:
    """A running `flm logs --follow`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def line(self) -> str:
        """The next line it prints."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def record(self) -> dict[str, Any]:
        """The next record, as a program reads it."""
        document = json.loads(self.line())
        assert document["version"] == "1.0"
        found: dict[str, Any] = document["data"]
        return found

    def interrupt(self) -> tuple[int, str, str]:
        """Ctrl-C: exit code and what was left to read."""
        self.process.send_signal(signal.SIGINT)
        out, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, out, err


@contextmanager
def following(data_dir: Path, *flags: str) -> Iterator[Following]:
    command = [*FLM, "logs", "--follow", *flags, "--data-dir", str(data_dir)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    environment = {**os.environ, "LANG": "C.UTF-8", "TZ": "UTC"}
    with subprocess.Popen(command, env=environment, **pipes) as process:
        try:
            yield Following(process)
        finally:
            process.kill()


def test_new_records_follow_until_ctrl_c(store: Store, data_dir: Path):
    """A document on each line, in the order they were stored in; the end is no failure."""
    keep(store, record("old", time=5.0))
    with following(data_dir, "--format", "json") as follower:
        assert follower.record()["request_id"] == "old"
        keep(store, record("new", time=9.0))
        assert follower.record()["request_id"] == "new"
        keep(store, record("late", time=1.0), record("new", time=9.0), record("last", time=8.0))
        assert [follower.record()["request_id"] for _ in range(2)] == ["late", "last"]
        assert follower.interrupt() == (0, "", "\n")


def test_only_what_matches_is_followed(store: Store, data_dir: Path):
    """One before them; a line for each where no person reads."""
    keep(store, record("fine"), record("old", status=404), record("older", status=404, time=2e5))
    with following(data_dir, "--limit", "1", "--status", "error", "--since", "1970-01-02") as it:
        assert it.line().startswith("2026-01-01 00:00:00  old  ")
        keep(store, record("good"), record("bad", status=500, error="engine_error"))
        assert it.line().startswith("2026-01-01 00:00:00  bad  k  m  e  /r  500  engine_error  ")
        assert it.interrupt() == (0, "", "\n")


def test_a_person_gets_two_lines_for_each(store: Store, data_dir: Path):
    """On a terminal, where its columns would not fit."""
    keep(store, record("a"))
    ours, theirs = pty.openpty()
    command = [*FLM, "logs", "-f", "--data-dir", str(data_dir)]
    environment = {**os.environ, "LANG": "C.UTF-8", "TZ": "UTC"}
    with (
        closing(os.fdopen(ours, "rb", buffering=0)) as terminal,
        subprocess.Popen(command, stdout=theirs, stderr=theirs, env=environment) as process,
    ):
        os.close(theirs)
        shown = b""
        while shown.count(b"\r\n") < 2:
            shown += terminal.read(4_096)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0
    tokens = "~10 → ~51 tokens, 4 cached, 5 of thoughts, 50.0 tokens/s"
    tried = "tried before: ollama/m (engine_overloaded), vllm/m (engine_unavailable)"
    assert shown.decode().split("\r\n")[:2] == [
        "2026-01-01 00:00:00  200  /r  m @ e  API helper  remote",
        f"    1,100 ms, first token 100 ms, {tokens}  a  key k  c  {tried}",
    ]


def test_a_wrong_filter_is_refused_before_anything_follows(flm: Flm):
    """Exit code 1, as without --follow."""
    ran = flm("logs", "-f", "--status", "600")
    assert (ran.code, ran.out) == (1, "")
    assert flm("logs", "-f", "--limit", "-1").code == 1


def test_a_reader_that_leaves_is_no_failure(store: Store, data_dir: Path):
    """`flm logs -f | head`."""
    keep(store, record("old"))
    with following(data_dir, "--format", "json") as follower:
        follower.record()
        assert follower.process.stdout is not None
        follower.process.stdout.close()
        keep(store, record("new"))
        assert follower.process.wait(PATIENCE) == 0
