"""The journal reader over a real store and real segments."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from flm.control.journal_reader import JournalReader
from flm.domain.records import JournalRecord
from flm.errors import StoreError
from flm.ports.processes import current
from flm.ports.repositories import Store
from flm.ports.telemetry import Checkpoint, RecordFilter
from flm.wire.journal import LOCK, pack, segment_name

EVERYTHING = RecordFilter(limit=100_000)


class Clock:
    """A clock that stands where it is put; far from the files' own times unless told."""

    def __init__(self) -> None:
        self.ahead = 60.0

    def now(self) -> float:
        return time.time() + self.ahead

    def monotonic(self) -> float:
        return 0.0


def record(name: str) -> JournalRecord:
    """A record with that id."""
    return JournalRecord(
        id=name, time=1.0, key_id="k", model="m", engine="e", route="/v1/chat/completions",
        status=200, error="", latency_ms=1.0, first_token_ms=None, tokens_in=1, tokens_out=2,
        client="127.0.0.1", streamed=False,
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of the instance `one`."""
    made = tmp_path / "journal" / "one"
    made.mkdir(parents=True)
    return made


def write(folder: Path, segment: int, data: bytes) -> Path:
    """Append to a segment."""
    path = folder / segment_name(segment)
    with path.open("ab") as file:
        file.write(data)
    return path


def read_all(reader: JournalReader) -> None:
    """Step until there is nothing left to do at once."""
    while reader.step():
        pass


def ids(store: Store) -> list[str]:
    """The ids of all stored records."""
    return sorted(found.id for found in store.records.search(EVERYTHING))


def test_what_a_dead_gateway_left_is_stored_and_removed(folder: Path, store: Store) -> None:
    """Whole records of all its segments; the torn end of the last goes with the folder."""
    write(folder, 1, pack(record("a")) + pack(record("b")))
    write(folder, 2, pack(record("c")) + pack(record("lost"))[:-3])
    (folder / LOCK).touch()
    read_all(JournalReader(folder.parent, store.records, current(), Clock()))
    assert ids(store) == ["a", "b", "c"]
    assert list(folder.parent.iterdir()) == []
    assert store.records.checkpoint("one") == Checkpoint(0, 0)


def test_a_living_gateways_open_segment_stays_and_is_read_on(folder: Path, store: Store) -> None:
    """A half record is left where it is and read when it is whole."""
    lock = current().lock(folder / LOCK)
    assert lock is not None
    reader = JournalReader(folder.parent, store.records, current(), Clock())
    whole = pack(record("b"))
    path = write(folder, 1, pack(record("a")) + whole[:10])
    read_all(reader)
    assert ids(store) == ["a"]
    write(folder, 1, whole[10:])
    read_all(reader)
    assert ids(store) == ["a", "b"]
    assert path.exists()
    write(folder, 2, pack(record("c")))
    read_all(reader)
    assert ids(store) == ["a", "b", "c"]
    assert not path.exists()
    assert (folder / segment_name(2)).exists()
    lock.release()
    read_all(reader)
    assert not folder.exists()


def test_a_damaged_record_ends_its_segment_and_nothing_else(folder: Path, store: Store) -> None:
    """What comes after it in that segment is lost; the next segment is read."""
    bad = bytearray(pack(record("bad")))
    bad[-1] ^= 0xFF
    write(folder, 1, pack(record("a")) + bytes(bad) + pack(record("behind")))
    write(folder, 2, pack(record("c")))
    read_all(JournalReader(folder.parent, store.records, current(), Clock()))
    assert ids(store) == ["a", "c"]
    assert not folder.exists()


def test_reading_again_stores_nothing_twice(folder: Path, store: Store) -> None:
    """A controller that was killed between storing and removing leaves no double."""
    write(folder, 1, b"".join(pack(record(f"r{number:04d}")) for number in range(5000)))
    first = JournalReader(folder.parent, store.records, current(), Clock())
    assert first.step() is True
    stored = len(ids(store))
    assert 0 < stored < 5000
    read_all(JournalReader(folder.parent, store.records, current(), Clock()))
    assert len(ids(store)) == 5000


def test_a_reader_that_dies_in_the_middle_of_a_segment_leaves_the_rest(
    folder: Path, store: Store
) -> None:
    """The mark moves with each chunk's records, and the next reader begins there."""
    write(folder, 1, b"".join(pack(record(f"r{number:04d}")) for number in range(6000)))

    class Dying:
        """Stores one chunk and then no more."""

        def __init__(self) -> None:
            self.left = 1

        def __getattr__(self, name: str) -> object:
            return getattr(store.records, name)

        def store(self, *arguments: object) -> int:
            if self.left == 0:
                raise StoreError("locked")
            self.left -= 1
            return store.records.store(*arguments)

    dying = JournalReader(folder.parent, Dying(), current(), Clock())
    assert dying.step() is True
    with pytest.raises(StoreError):
        dying.step()
    stored = len(ids(store))
    frame = len(pack(record("r0000")))
    assert 0 < stored < 6000
    assert store.records.checkpoint("one") == Checkpoint(1, stored * frame)
    read_all(JournalReader(folder.parent, store.records, current(), Clock()))
    assert len(ids(store)) == 6000


def test_records_that_are_stored_already_are_passed_over(folder: Path, store: Store) -> None:
    """A mark that was left before them costs nothing but their reading."""
    served = [record(f"r{number:04d}") for number in range(600)]
    write(folder, 1, b"".join(map(pack, served)))
    store.records.store("one", served[:500], Checkpoint(1, 0))
    read_all(JournalReader(folder.parent, store.records, current(), Clock()))
    assert len(ids(store)) == 600


def test_a_segment_that_grows_is_read_to_its_end_and_no_further(folder: Path, store: Store) -> None:
    """A full chunk is followed at once; what came since is for the next look, in one piece."""
    lock = current().lock(folder / LOCK)
    assert lock is not None
    reader = JournalReader(folder.parent, store.records, current(), Clock())
    write(folder, 1, b"".join(pack(record(f"r{number:04d}")) for number in range(6000)))
    assert reader.step() is True
    assert 0 < len(ids(store)) < 6000
    assert reader.step() is False
    assert len(ids(store)) == 6000
    write(folder, 1, pack(record("s")))
    assert reader.step() is False
    assert len(ids(store)) == 6001
    lock.release()


def test_a_closed_segment_is_followed_by_the_next_at_once(folder: Path, store: Store) -> None:
    """Its last records, its removal, the next one's records: each a step, with no look between."""
    lock = current().lock(folder / LOCK)
    assert lock is not None
    reader = JournalReader(folder.parent, store.records, current(), Clock())
    path = write(folder, 1, pack(record("a")))
    write(folder, 2, pack(record("b")))
    assert [reader.step(), ids(store), path.exists()] == [True, ["a"], True]
    assert [reader.step(), ids(store), path.exists()] == [True, ["a"], False]
    assert [reader.step(), ids(store)] == [False, ["a", "b"]]
    lock.release()


def test_a_folder_that_was_just_made_is_left_alone(folder: Path, store: Store) -> None:
    """Its gateway may be about to lock it."""
    clock = Clock()
    clock.ahead = 0.0
    reader = JournalReader(folder.parent, store.records, current(), clock)
    read_all(reader)
    assert folder.exists()
    clock.ahead = 60.0
    read_all(reader)
    assert not folder.exists()


def test_segments_that_were_stored_before_are_removed(folder: Path, store: Store) -> None:
    """The mark has passed them, only their removal was missed."""
    path = write(folder, 1, pack(record("old")))
    write(folder, 2, pack(record("new")))
    store.records.store("one", [], Checkpoint(2, 0))
    read_all(JournalReader(folder.parent, store.records, current(), Clock()))
    assert ids(store) == ["new"]
    assert not path.exists()


def test_what_is_no_segment_is_no_matter(tmp_path: Path, store: Store) -> None:
    """No folder, files beside the instances, and names that mean nothing are passed over."""
    reader = JournalReader(tmp_path / "journal", store.records, current(), Clock())
    assert reader.step() is False
    instance = tmp_path / "journal" / "two"
    instance.mkdir(parents=True)
    (tmp_path / "journal" / "stray").write_text("x")
    (instance / "note.txt").write_text("x")
    (instance / "x.seg").write_text("x")
    os.utime(instance)
    read_all(reader)
    assert ids(store) == []
