"""Storing the journal beside everything else, over a real store and real segments."""

from __future__ import annotations

import asyncio
import queue
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from flm.control.journal_reader import JournalReader
from flm.control.storing import Storing
from flm.control.worker import StoreThread
from flm.domain.records import JournalRecord
from flm.errors import StoreError
from flm.ports.processes import current
from flm.ports.repositories import Store
from flm.ports.telemetry import RecordFilter
from flm.wire.journal import LOCK, pack, segment_name

SERVED = 8000
"""Records of more than two chunks."""

Scene = Callable[[Storing], Awaitable[None]]


class Clock:
    """Far from the files' own times: no folder is young."""

    def now(self) -> float:
        return time.time() + 60.0

    def monotonic(self) -> float:
        return 0.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of one gateway, with what it served."""
    made = tmp_path / "journal" / "one"
    made.mkdir(parents=True)
    served = (
        JournalRecord(
            id=f"req_{number:06d}", time=1.0, key_id="k", model="m", engine="e", route="/v1/models",
            status=200, error="", latency_ms=1.0, first_token_ms=None, tokens_in=1, tokens_out=2,
            client="127.0.0.1", streamed=False,
        )
        for number in range(SERVED)
    )  # fmt: skip
    (made / segment_name(1)).write_bytes(b"".join(map(pack, served)))
    return made


def play(folder: Path, records: object, scene: Scene) -> None:
    """Play `scene` with the storing of that journal into `records`."""

    async def scenery() -> None:
        thread = StoreThread()
        reader = JournalReader(folder.parent, records, current(), Clock())
        try:
            await asyncio.wait_for(scene(Storing(reader, thread)), 60)
        finally:
            thread.close()

    asyncio.run(scenery())


def count(store: Store) -> int:
    """How many records are stored."""
    return len(store.records.search(RecordFilter(limit=1_000_000)))


def test_the_end_waits_for_the_last_record(folder: Path, store: Store) -> None:
    """Whatever was stored before, and though the gateway is gone only now."""
    lock = current().lock(folder / LOCK)
    assert lock is not None

    async def scene(storing: Storing) -> None:
        storing.start()
        lock.release()
        await storing.finish(30.0)

    play(folder, store.records, scene)
    assert count(store) == SERVED
    assert list(folder.parent.iterdir()) == []


def test_a_living_gateways_records_are_stored_at_the_end_too(folder: Path, store: Store) -> None:
    """Its open segment is read to where it ends now, and stays."""
    lock = current().lock(folder / LOCK)
    assert lock is not None
    play(folder, store.records, lambda storing: storing.finish(30.0))
    assert count(store) == SERVED
    assert (folder / segment_name(1)).exists()
    lock.release()


def test_what_is_there_at_the_start_is_stored_without_a_word(folder: Path, store: Store) -> None:
    """To the last record, however many chunks that takes."""
    lock = current().lock(folder / LOCK)
    assert lock is not None
    told: queue.Queue[int] = queue.Queue()

    class Watched:
        """Tells how many records each chunk brought."""

        def __getattr__(self, name: str) -> object:
            return getattr(store.records, name)

        def store(self, *arguments: object) -> int:
            told.put(store.records.store(*arguments))
            return 0

    async def scene(storing: Storing) -> None:
        storing.start()
        left = SERVED
        while left > 0:
            left -= await asyncio.to_thread(told.get, True, 30.0)
        await storing.finish(30.0)

    play(folder, Watched(), scene)
    assert count(store) == SERVED
    lock.release()


def test_what_cannot_be_stored_at_the_end_stays(folder: Path, store: Store) -> None:
    """The next controller finds it; this one's end is not held up."""

    class Locked:
        """Another program has the database."""

        def __getattr__(self, name: str) -> object:
            return getattr(store.records, name)

        def store(self, *_arguments: object) -> int:
            raise StoreError("locked")

    play(folder, Locked(), lambda storing: storing.finish(30.0))
    assert count(store) == 0
    assert (folder / segment_name(1)).exists()
