"""Request records: storing, searching, pruning."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing

import msgspec
import pytest

from flm.domain.records import JournalRecord, RequestRecord
from flm.errors import InvalidValue
from flm.paths import DataPaths
from flm.ports.repositories import Store
from flm.ports.telemetry import Checkpoint, RecordFilter


def record(number: int, **changes: object) -> RequestRecord:
    plain = RequestRecord(
        id=f"req_{number:06d}", time=1000.0 + number, key_id="k1", model="m1", engine="ollama",
        route="/v1/chat/completions", status=200, error="", latency_ms=12.5, first_token_ms=None,
        tokens_in=3, tokens_out=None, client="127.0.0.1", streamed=True,
    )  # fmt: skip
    return msgspec.structs.replace(plain, **changes)


def ids(records: list[RequestRecord]) -> list[int]:
    return [int(found.id[4:]) for found in records]


@pytest.fixture
def served(store: Store) -> Store:
    """Seven requests of every kind."""
    store.records.store(
        "i",
        [
            record(1),
            record(2, status=404, error="model_not_found", model="m2"),
            record(3, status=499, error="client_closed", key_id="k2", engine="vllm"),
            record(4, status=500, error="engine_error"),
            record(5, error="stream_interrupted"),
            record(6, key_id="k2", model="m2", api="helper"),
            record(7, status=400, error="invalid_request", key_id="k2"),
        ],
        Checkpoint(1, 10),
    )
    return store


def test_a_record_comes_back_whole(store: Store):
    """Every field, None and False included."""
    kept = record(1, streamed=False, first_token_ms=1.25, tokens_in=None)
    store.records.store("i", [kept], Checkpoint(1, 10))
    assert store.records.search(RecordFilter()) == [kept]


def test_what_the_journal_reads_can_be_stored(store: Store):
    """Journal records are records."""
    journalled = JournalRecord(**msgspec.structs.asdict(record(1)))
    store.records.store("i", [journalled], Checkpoint(1, 10))
    assert store.records.search(RecordFilter()) == [record(1)]


@pytest.mark.parametrize("count", [0, 1, 2, 15, 16, 17, 500])
def test_storing_again_stores_nothing_twice(store: Store, count: int):
    """A journal is read again after a crash: known ids are ignored, and only new ones counted."""
    first = [record(number) for number in range(count)]
    assert store.records.store("i", first, Checkpoint(1, 10)) == count
    assert store.records.store("i", first, Checkpoint(1, 10)) == 0
    assert store.records.store("i", [*first, record(900)], Checkpoint(1, 20)) == 1
    assert len(store.records.search(RecordFilter(limit=1000))) == count + 1


def test_the_checkpoint_moves_with_the_records(store: Store):
    """Each instance has its own, and one that is forgotten starts anew."""
    store.records.store("a", [record(1)], Checkpoint(2, 77))
    store.records.store("b", [], Checkpoint(1, 5))
    store.records.store("a", [], Checkpoint(3, 0))
    assert [store.records.checkpoint(name) for name in ("a", "b", "c")] == [(3, 0), (1, 5), (0, 0)]
    store.records.forget_instance("a")
    assert store.records.checkpoint("a") == Checkpoint(0, 0)
    assert ids(store.records.search(RecordFilter())) == [1]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (RecordFilter(), [7, 6, 5, 4, 3, 2, 1]),
        (RecordFilter(limit=2), [7, 6]),
        (RecordFilter(since=1005.0), [7, 6, 5]),
        (RecordFilter(status="404"), [2]),
        (RecordFilter(status="4xx"), [7, 3, 2]),
        (RecordFilter(status="400-404"), [7, 2]),
        (RecordFilter(status="2xx"), [6, 5, 1]),
        (RecordFilter(status="ok"), [6, 1]),
        (RecordFilter(status="error"), [7, 5, 4, 3, 2]),
        (RecordFilter(model="m2"), [6, 2]),
        (RecordFilter(key="k2"), [7, 6, 3]),
        (RecordFilter(key="k2", model="m1", status="4xx", since=1004.0), [7]),
        (RecordFilter(model="' OR 1=1 --"), []),
        (RecordFilter(engine="vllm"), [3]),
        (RecordFilter(api="helper"), [6]),
        (RecordFilter(api="", engine="ollama", key="k2"), [7]),
    ],
)
def test_a_search_finds_what_matches_newest_first(
    served: Store, wanted: RecordFilter, found: list[int]
):
    """Filters narrow each other; a stream that broke is an error whatever its status."""
    assert ids(served.records.search(wanted)) == found


@pytest.mark.parametrize("status", ["", "abc", "4x", "40", "404-", "4xx-5xx", "error "])
def test_a_status_that_is_none_is_refused(store: Store, status: str):
    """Nothing is guessed."""
    with pytest.raises(InvalidValue):
        store.records.search(RecordFilter(status=status))


def test_pruning_removes_what_is_too_old_and_what_is_too_much(store: Store):
    """Whichever is less; the newest stay."""
    store.records.store("i", [record(number) for number in range(10)], Checkpoint(1, 10))
    assert store.records.prune(1003.0, 100) == 3
    assert ids(store.records.search(RecordFilter())) == [9, 8, 7, 6, 5, 4, 3]
    assert store.records.prune(0.0, 2) == 5
    assert ids(store.records.search(RecordFilter())) == [9, 8]
    assert store.records.prune(0.0, 2) == 0
    assert store.records.prune(0.0, 0) == 2


def test_pruning_goes_on_over_many_batches(store: Store):
    """More than two batches each way."""
    store.records.store("i", [record(number) for number in range(25_000)], Checkpoint(1, 10))
    assert store.records.prune(1000.0 + 11_000, 2_000) == 23_000
    assert ids(store.records.search(RecordFilter(limit=1))) == [24_999]


def test_records_are_stored_while_others_are_searched_and_pruned(store: Store):
    """The threads of a controller share one store."""
    failures: list[BaseException] = []

    def work(action: object) -> None:
        try:
            for turn in range(20):
                action(turn)  # type: ignore[operator]
        except BaseException as error:
            failures.append(error)

    def add(turn: int) -> None:
        batch = [record(turn * 100 + number) for number in range(100)]
        store.records.store("i", batch, Checkpoint(1, turn))

    threads = [
        threading.Thread(target=work, args=[action])
        for action in (
            add,
            lambda _turn: store.records.search(RecordFilter()),
            lambda _turn: store.records.prune(1000.0, 100_000),
        )
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(store.records.search(RecordFilter(limit=10_000))) == 2000


def test_what_is_stored_is_followed_in_the_order_it_was_stored_in(store: Store):
    """Whatever their times: a record that comes late is seen as well, and none twice."""
    assert store.records.latest(RecordFilter()).records == []
    store.records.store("i", [record(5), record(9)], Checkpoint(1, 10))
    arrived = store.records.latest(RecordFilter(limit=1))
    assert ids(arrived.records) == [9]
    assert store.records.after(arrived.place, RecordFilter()) == ([], arrived.place)
    store.records.store("i", [record(9), record(2), record(5), record(11)], Checkpoint(1, 20))
    arrived = store.records.after(arrived.place, RecordFilter())
    assert ids(arrived.records) == [2, 11]
    assert store.records.after(arrived.place, RecordFilter()).records == []


def test_what_is_followed_comes_in_portions(store: Store):
    """As many as were asked for; filters narrow them and what does not match is passed."""
    place = store.records.latest(RecordFilter(limit=0)).place
    served = [record(number, model=f"m{number % 2}") for number in range(7)]
    store.records.store("i", served, Checkpoint(1, 10))
    found, wanted = [], RecordFilter(limit=2, model="m0")
    for _ in range(3):
        arrived = store.records.after(place, wanted)
        found.append(ids(arrived.records))
        place = arrived.place
    assert found == [[0, 2], [4, 6], []]
    assert store.records.after(place, RecordFilter()).records == []


def test_following_goes_on_when_old_records_are_pruned(store: Store):
    """Those before the place are gone; the next one is the next one."""
    store.records.store("i", [record(number) for number in range(10)], Checkpoint(1, 10))
    place = store.records.latest(RecordFilter()).place
    store.records.prune(0.0, 1)
    store.records.store("i", [record(20)], Checkpoint(1, 20))
    assert ids(store.records.after(place, RecordFilter()).records) == [20]


def test_following_goes_on_when_all_records_went(store: Store):
    """Rows are numbered from the start then."""
    store.records.store("i", [record(number) for number in range(10)], Checkpoint(1, 10))
    place = store.records.latest(RecordFilter()).place
    store.records.prune(0.0, 0)
    place = store.records.after(place, RecordFilter()).place
    store.records.store("i", [record(number) for number in range(20, 40)], Checkpoint(1, 20))
    assert ids(store.records.after(place, RecordFilter()).records) == list(range(20, 40))


def test_following_goes_on_when_rows_are_numbered_anew(store: Store, paths: DataPaths):
    """VACUUM does that: nothing is shown again."""
    store.records.store("i", [record(number) for number in range(10)], Checkpoint(1, 10))
    store.records.prune(0.0, 3)
    place = store.records.latest(RecordFilter()).place
    with closing(sqlite3.connect(paths.telemetry_db)) as database:
        database.execute("VACUUM")
    assert store.records.after(place, RecordFilter()).records == []
    store.records.store("i", [record(20)], Checkpoint(1, 20))
    assert ids(store.records.after(place, RecordFilter()).records) == [20]
