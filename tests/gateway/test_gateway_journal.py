"""The journal: a record before the last byte, whatever happens to the process or the disk."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from flm.domain.records import JournalRecord
from flm.gateway.journal import Journal
from flm.ports.processes import current
from flm.wire.journal import LOCK, SEGMENT_BYTES, pack, unpack
from flm.wire.snapshot import Rules
from support.gateway import RunningGateway, gateway, target_at
from support.raw_client import RawClient, ask, chat, eventually, request
from support.scripted_engine import (
    EngineSide,
    ScriptedEngine,
    answer_body,
    answering,
    sized,
    stream_of,
)


def record(number: int = 0, time: float = 1000.0) -> JournalRecord:
    """A record."""
    return JournalRecord(
        id=f"req_{number}", time=time, key_id="k", model="m", engine="e", route="/health",
        status=200, error="", latency_ms=1.0, first_token_ms=None, tokens_in=1, tokens_out=2,
        client="127.0.0.1", streamed=False,
    )  # fmt: skip


def journal_in(folder: Path, cap: int = 1 << 30) -> Journal:
    """An open journal."""
    journal = Journal(folder, "one", current(), cap)
    journal.open()
    return journal


def ids_in(folder: Path) -> list[str]:
    """The ids of every record, in order."""
    return [
        found.id for path in sorted(folder.rglob("*.seg")) for found in unpack(path.read_bytes())[0]
    ]


def test_records_are_readable_the_moment_they_are_appended(tmp_path: Path) -> None:
    """One write each; the position is where the file ends."""
    journal = journal_in(tmp_path)
    for number in range(3):
        journal.append([record(number)])
        assert ids_in(tmp_path) == [f"req_{each}" for each in range(number + 1)]
    assert journal.segment == 1
    assert journal.offset == (tmp_path / "one" / "00000001.seg").stat().st_size
    journal.close()


def test_folder_and_segments_are_the_owner_s_alone(tmp_path: Path) -> None:
    """0700 and 0600."""
    journal = journal_in(tmp_path / "journal")
    folder = tmp_path / "journal" / "one"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "00000001.seg").stat().st_mode & 0o777 == 0o600
    journal.close()


def test_a_segment_that_has_grown_is_followed_by_the_next(tmp_path: Path) -> None:
    """No record is cut by it."""
    journal = journal_in(tmp_path)
    count = SEGMENT_BYTES // len(pack(record(1000))) + 100
    for number in range(count):
        journal.append([record(number)])
    assert journal.segment == 2
    assert ids_in(tmp_path) == [f"req_{number}" for number in range(count)]
    journal.close()


def test_the_folder_is_locked_for_life_and_free_afterwards(tmp_path: Path) -> None:
    """The controller removes only what nobody holds."""
    journal = journal_in(tmp_path)
    assert current().is_locked(tmp_path / "one" / LOCK)
    journal.close()
    assert not current().is_locked(tmp_path / "one" / LOCK)


def test_after_its_end_nothing_is_made_again(tmp_path: Path) -> None:
    """A late record is counted, not written into a folder that may have been stored."""
    journal = journal_in(tmp_path)
    journal.close()
    journal.append([record()])
    assert journal.unrecorded == 1
    assert ids_in(tmp_path) == []
    assert not current().is_locked(tmp_path / "one" / LOCK)


def test_a_full_journal_counts_what_it_cannot_hold_and_goes_on_when_there_is_room(
    tmp_path: Path,
) -> None:
    """The cap counts every gateway's segments; it is looked at twice a second at most."""
    old = tmp_path / "other" / "00000001.seg"
    old.parent.mkdir()
    old.write_bytes(b"x" * 5000)
    journal = journal_in(tmp_path, cap=5000)
    for number in range(10):
        journal.append([record(number, 1000.0)])
    assert (journal.unrecorded, ids_in(tmp_path / "one")) == (10, [])
    old.unlink()
    journal.append([record(10, 1000.1)])
    assert journal.unrecorded == 11
    journal.append([record(11, 1000.6)])
    journal.append([record(12, 1000.6)])
    assert (journal.unrecorded, ids_in(tmp_path)) == (11, ["req_11", "req_12"])
    journal.close()


def test_a_journal_without_a_folder_lets_requests_go_on(tmp_path: Path) -> None:
    """The disk is broken or full at the start: what is lost is counted, then it is tried again."""
    blocked = tmp_path / "journal"
    blocked.write_text("a file, where a folder should be")
    journal = journal_in(blocked)
    journal.append([record(0, 1000.0)])
    assert journal.unrecorded == 1
    blocked.unlink()
    journal.append([record(1, 1001.0)])
    assert (journal.unrecorded, ids_in(blocked)) == (1, ["req_1"])
    assert current().is_locked(blocked / "one" / LOCK)
    journal.close()


def test_a_write_that_is_cut_short_leaves_no_torn_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk filled in the middle of it: it is taken back and counted."""
    journal = journal_in(tmp_path)
    journal.append([record(0)])
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda file, data: write(file, data[:10]))
        journal.append([record(1)])
    journal.append([record(2)])
    assert (journal.unrecorded, ids_in(tmp_path)) == (1, ["req_0", "req_2"])
    journal.close()


def test_a_disk_that_fails_altogether_stops_no_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is raised, neither by the write nor by taking it back."""

    def broken(*_: object) -> int:
        raise OSError(5, "Input/output error")

    journal = journal_in(tmp_path)
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", broken)
        journal.append([record(0)])
        patch.setattr(os, "write", lambda file, data: write(file, data[:10]))
        patch.setattr(os, "ftruncate", broken)
        journal.append([record(1)])
    assert journal.unrecorded == 2
    journal.close()


# In the gateway.


def test_a_gateway_goes_on_past_the_cap_and_counts(tmp_path: Path) -> None:
    """`Stats` says how many; a raised cap is in force with its delta."""
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "00000001.seg").write_bytes(b"x" * 1000)
    with (
        ScriptedEngine(answering(sized(answer_body()))) as engine,
        gateway(
            tmp_path, target_at(engine.port), rules=Rules(revision=1, journal_cap_bytes=1000)
        ) as running,
    ):
        for _ in range(3):
            assert ask(running.port, chat()).status == 200
        running.stats(lambda stats: stats.unrecorded == 3)
        running.delta(rules=Rules(revision=2))
        eventually(lambda: ask(running.port, chat()).status == 200 and running.records())


def test_a_gateway_starts_without_a_journal(tmp_path: Path) -> None:
    """A full disk is no reason to answer nobody."""
    blocked = tmp_path / "journal"
    blocked.write_text("a file")
    with gateway(blocked) as running:
        assert ask(running.port, request("GET", "/v1/models")).status == 200
        running.stats(lambda stats: stats.unrecorded == 1)


def test_health_is_not_journalled(served: RunningGateway) -> None:
    """A probe every second would be most of what is there."""
    before = len(served.records())
    ask(served.port, request("GET", "/health"))
    ask(served.port, request("OPTIONS", "/health"), bodiless=True)
    assert len(served.records()) == before


def test_a_record_says_what_was_served(served: RunningGateway, engine: ScriptedEngine) -> None:
    """And holds neither question nor answer."""
    response = ask(served.port, chat(text="the question"))
    record = served.records()[-1]
    assert record.id == response.headers["x-request-id"]
    assert (record.key_id, record.model, record.engine) == ("7777777777", "m", "e")
    assert (record.route, record.status, record.error) == ("/v1/chat/completions", 200, "")
    assert (record.tokens_in, record.tokens_out, record.client) == (3, 5, "127.0.0.1")
    assert record.latency_ms > 0
    data = b"".join(path.read_bytes() for path in served.journal.rglob("*.seg"))
    assert b"the question" not in data
    assert b"hello" not in data


def test_growth_is_told(served: RunningGateway, engine: ScriptedEngine) -> None:
    """Up to where the controller may read."""
    ask(served.port, chat())
    size = max(path.stat().st_size for path in served.journal.rglob("*.seg"))
    served.wait_for(lambda message: getattr(message, "offset", -1) == size)


# kill -9.


class Worker(threading.Thread):
    """A client that asks without a pause and notes the ids of what it got whole."""

    def __init__(self, port: int, stream: bool) -> None:
        super().__init__(daemon=True)
        self._port = port
        self._data = chat(stream=stream)
        self._stream = stream
        self.whole: list[str] = []

    def run(self) -> None:
        """Until the gateway is gone."""
        try:
            with RawClient(self._port) as client:
                while True:
                    status, lines = client.send(self._data).head()
                    assert status == 200
                    headers = dict(lines)
                    self._read_body(client, headers)
                    self.whole.append(headers["x-request-id"])
        except (OSError, AssertionError):
            return

    def _read_body(self, client: RawClient, headers: dict[str, str]) -> None:
        if self._stream:
            client.read_until(b"data: [DONE]\n\n")
            client.read_until(b"0\r\n\r\n")
        else:
            client.read(int(headers["content-length"]))


def whichever(side: EngineSide) -> None:
    """An engine that streams when asked to."""
    stream, whole = stream_of("a", "b", "c"), sized(answer_body())
    while (asked := side.request()) is not None:
        side.send(stream if b'"stream":true' in asked.body else whole)


def killed_under_load(folder: Path, when: Callable[[list[Worker]], bool]) -> tuple[set[str], Path]:
    """What 32 clients got whole from a gateway that is killed with -9, and where its journal is."""
    with ScriptedEngine(whichever) as engine, gateway(folder, target_at(engine.port)) as running:
        workers = [Worker(running.port, stream=bool(number % 2)) for number in range(32)]
        for worker in workers:
            worker.start()
        eventually(lambda: when(workers))
        psutil.Process(running.process.pid).kill()
        for worker in workers:
            worker.join(10)
        return {whole for worker in workers for whole in worker.whole}, folder


@pytest.mark.parametrize("count", [1, 5, 20])
def test_what_a_client_got_whole_is_recorded_when_the_gateway_is_killed(
    tmp_path: Path, count: int
) -> None:
    """32 connections, whole answers and streams; the lock is free afterwards."""
    whole, folder = killed_under_load(
        tmp_path, lambda workers: min(len(worker.whole) for worker in workers) >= count
    )
    recorded = ids_in(folder)
    assert len(whole) >= 32 * count
    assert whole <= set(recorded)
    assert len(recorded) == len(set(recorded))
    [lock] = folder.rglob(LOCK)
    assert not current().is_locked(lock)
