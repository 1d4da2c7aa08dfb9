"""Several processes on one store: first at once, writing at once, killed in the middle."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from flm.paths import DataPaths, data_paths
from flm.ports.telemetry import RecordFilter
from flm.store import open_store

WORKERS = Path(__file__).with_name("store_workers.py")


def started(stack: ExitStack, what: str, root: Path, name: str) -> subprocess.Popen[str]:
    """A worker that has imported everything and waits."""
    worker = stack.enter_context(
        subprocess.Popen(
            [sys.executable, str(WORKERS), what, str(root), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
    )
    stack.callback(worker.kill)
    assert worker.stdout is not None
    assert worker.stdout.readline() == "ready\n"
    return worker


def released(workers: list[subprocess.Popen[str]]) -> list[str]:
    """Let them all go at once; what each printed. Every one must end well."""
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("\n")
        worker.stdin.flush()
    printed = [worker.communicate(timeout=120)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * len(workers)
    return printed


def together(what: str, root: Path, count: int) -> list[str]:
    """`count` workers at the same work at once; what each printed."""
    with ExitStack() as stack:
        return released([started(stack, what, root, f"w{number}") for number in range(count)])


def test_many_processes_may_be_the_first_at_once(tmp_path: Path):
    """Each finds or makes the same databases; nobody fails and nothing is lost."""
    together("first_use", tmp_path / "data", 6)
    with closing(open_store(data_paths(tmp_path / "data"))) as store:
        assert (len(store.settings.all()), store.revisions().config) == (6, 6)


def test_several_writers_lose_no_change_and_no_revision(paths: DataPaths):
    """Four processes, fifty changes each in two databases: no lock error, every revision."""
    together("write", paths.root, 4)
    with closing(open_store(paths)) as store:
        everything = store.everything()
    assert (len(everything.settings), len(everything.keys)) == (200, 200)
    assert everything.revisions == (200, 200)


def test_processes_that_make_the_pepper_at_once_get_the_same(paths: DataPaths):
    """Or else one of them would refuse every key of the other."""
    peppers = {bytes.fromhex(line) for line in together("pepper", paths.root, 4)}
    assert peppers == {paths.pepper.read_bytes()}
    assert [path.name for path in paths.root.glob(".pepper*")] == []


@pytest.mark.parametrize("after", [1, 7, 20])
def test_a_writer_killed_in_the_middle_leaves_whole_transactions(paths: DataPaths, after: int):
    """What was confirmed is there, the checkpoint fits the records, and the next start writes."""
    with ExitStack() as stack:
        worker = started(stack, "store_for_ever", paths.root, "")
        assert worker.stdin is not None
        assert worker.stdout is not None
        worker.stdin.write("\n")
        worker.stdin.flush()
        confirmed = [int(worker.stdout.readline()) for _ in range(after)][-1]
        worker.kill()
        worker.wait(60)
    with closing(open_store(paths)) as store:
        checkpoint = store.records.checkpoint("i")
        stored = len(store.records.search(RecordFilter(limit=1_000_000)))
        assert checkpoint.segment >= confirmed
        assert stored == checkpoint.offset
        assert store.revisions().config == int(store.settings.all()["batch"])
        store.settings.set("batch", "next")
        assert store.settings.all() == {"batch": "next"}
