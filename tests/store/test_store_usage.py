"""Roll-ups: what was used by hour and by day."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.runtime.migration import MigrationStep
from alembic.script import ScriptDirectory
from hypothesis import given, settings
from hypothesis import strategies as st

from flm.domain.records import RequestRecord
from flm.domain.usage import Tally, by_day, tallied
from flm.paths import DataPaths, data_paths, prepare
from flm.ports.repositories import Store
from flm.ports.telemetry import Checkpoint, RecordFilter, UsageFilter
from flm.store import migrate, migrations, open_store
from flm.store.database import Database
from flm.store.usage import MOST_MODELS

HOUR, DAY = 3_600, 86_400
START = 1_767_225_600
"""2026-01-01T00:00Z, a day's first second."""

END = 4_000_000_000.0


def record(number: int, **changes: object) -> RequestRecord:
    plain = RequestRecord(
        id=f"req_{number:06d}", time=float(START + number), key_id="k1", model="m1",
        engine="ollama", route="/v1/chat/completions", status=200, error="", latency_ms=12.5,
        first_token_ms=None, tokens_in=3, tokens_out=None, client="127.0.0.1", streamed=True,
    )  # fmt: skip
    return msgspec.structs.replace(plain, **changes)


def requests(store: Store, by: str, **wanted: object) -> dict[str | int, int]:
    rows = store.usage.sums(UsageFilter(by=by, **wanted)).rows
    return {name: tally.requests for name, tally in rows.items()}


def rows(paths: DataPaths) -> list[list[tuple[object, ...]]]:
    with closing(sqlite3.connect(paths.telemetry_db)) as database:
        return [
            database.execute(f"SELECT * FROM {table} ORDER BY 1, 2, 3, 4, 5").fetchall()
            for table in ("usage_hours", "usage_days")
        ]


def expected(records: list[RequestRecord]) -> list[list[tuple[object, ...]]]:
    hours = tallied(records)
    return [
        sorted((*group, *msgspec.structs.astuple(tally)) for group, tally in tallies.items())
        for tallies in (hours, by_day(hours))
    ]


@pytest.fixture
def used(store: Store) -> Store:
    """Three days: an hour late on the first, one early on the second, two on the third."""
    store.records.store(
        "i",
        [
            record(1, time=START + 23.5 * HOUR),
            record(2, time=START + DAY + 60.0, key_id="k2"),
            record(3, time=START + 2 * DAY + 60.0, model="m2", api="helper"),
            record(4, time=START + 2 * DAY + 5 * HOUR, engine="", status=404, error="x"),
        ],
        Checkpoint(1, 10),
    )
    return store


@pytest.mark.parametrize(
    ("by", "found"),
    [
        ("key", {"k1": 3, "k2": 1}),
        ("model", {"m1": 2, "m2": 1, "": 1}),
        ("engine", {"ollama": 3, "": 1}),
        ("api", {"": 3, "helper": 1}),
        ("day", {START: 1, START + DAY: 1, START + 2 * DAY: 2}),
        (
            "hour",
            {
                START + 23 * HOUR: 1,
                START + DAY: 1,
                START + 2 * DAY: 1,
                START + 2 * DAY + 5 * HOUR: 1,
            },
        ),
    ],
)
def test_sums_are_told_apart_by_what_is_asked_for(
    used: Store, by: str, found: dict[str | int, int]
):
    """Every record is in exactly one of them."""
    assert requests(used, by) == found


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"since": START + DAY}, {START + DAY: 1, START + 2 * DAY: 2}),
        ({"since": START + 23 * HOUR, "until": START + DAY}, {START: 1}),
        ({"since": START + 23 * HOUR}, {START: 1, START + DAY: 1, START + 2 * DAY: 2}),
        ({"since": START + DAY + HOUR}, {START + 2 * DAY: 2}),
        ({"until": START + 2 * DAY + HOUR}, {START: 1, START + DAY: 1, START + 2 * DAY: 1}),
        ({"since": START + 2 * DAY + HOUR, "until": START + 2 * DAY + 6 * HOUR},
         {START + 2 * DAY: 1}),
        ({"key": "k2"}, {START + DAY: 1}),
        ({"model": "m2", "key": "k1"}, {START + 2 * DAY: 1}),
        ({"model": "' OR 1=1 --"}, {}),
    ],
)  # fmt: skip
def test_a_span_is_cut_at_hours(used: Store, wanted: dict, found: dict[str | int, int]):
    """Whole days come from their own sums, what is left over from the hours."""
    assert requests(used, "day", **wanted) == found


def test_hours_that_are_not_kept_any_more_are_told_as_days(used: Store):
    """The span that is answered says so."""
    assert used.usage.prune(START + 2 * DAY + 7 * HOUR, 0.0) == 2
    got = used.usage.sums(UsageFilter(by="model", since=START + 23 * HOUR, until=START + 25 * HOUR))
    assert (got.since, got.until) == (START, START + 2 * DAY)
    assert got.rows["m1"].requests == 2
    assert list(requests(used, "hour")) == [START + 2 * DAY, START + 2 * DAY + 5 * HOUR]


def test_pruning_keeps_whole_days(used: Store):
    """Of the hours and of the days, each by its own moment; again, it removes nothing."""
    assert used.usage.prune(START + 2.5 * DAY, START + 1.5 * DAY) == 3
    assert used.usage.prune(START + 2.5 * DAY, START + 1.5 * DAY) == 0
    assert requests(used, "day") == {START + DAY: 1, START + 2 * DAY: 2}


def test_nothing_used_has_no_sums(store: Store):
    """An empty store answers."""
    assert store.usage.sums(UsageFilter(by="key", since=START, until=START + DAY)).rows == {}


def test_sums_outlive_the_records(used: Store):
    """Records may be pruned, what was used stays counted."""
    used.records.prune(END, 0)
    assert requests(used, "engine") == {"ollama": 3, "": 1}


def test_a_batch_that_was_stored_before_counts_once(store: Store, paths: DataPaths):
    """Whole, in part, and twice in one batch."""
    first, second = record(1), record(2)
    store.records.store("i", [first, first], Checkpoint(1, 10))
    store.records.store("i", [first], Checkpoint(1, 10))
    store.records.store("i", [second, first, second], Checkpoint(1, 20))
    assert rows(paths) == expected([first, second])


def test_a_batch_that_is_not_stored_counts_nothing(store: Store, paths: DataPaths):
    """Records, sums and checkpoint are one transaction."""
    with closing(sqlite3.connect(paths.telemetry_db)) as database, database:
        database.execute(
            "CREATE TRIGGER broken BEFORE INSERT ON checkpoints BEGIN SELECT RAISE(FAIL, 'x'); END"
        )
    with contextlib.suppress(Exception):
        store.records.store("i", [record(1)], Checkpoint(1, 10))
    assert rows(paths) == [[], []]


def test_made_up_models_cannot_fill_the_disk(store: Store, paths: DataPaths):
    """A publication for any name: beyond so many names in an hour they are counted together."""
    made_up = [record(number, model=f"any-{number}") for number in range(MOST_MODELS + 40)]
    store.records.store("i", made_up[:MOST_MODELS], Checkpoint(1, 10))
    store.records.store("i", made_up[MOST_MODELS - 10 :], Checkpoint(1, 20))
    store.records.store("i", [record(900_000, model="any-7", time=START + 1.0)], Checkpoint(1, 30))
    found = requests(store, "model")
    assert (len(found), found[""], found["any-7"]) == (MOST_MODELS + 1, 40, 2)
    assert [len(table) for table in rows(paths)] == [MOST_MODELS + 1] * 2


served = st.builds(
    record,
    st.integers(0, 60),
    time=st.integers(START, START + 3 * DAY).map(float) | st.floats(START, START + 2 * HOUR),
    key_id=st.sampled_from(["", "k1", "k2"]),
    model=st.sampled_from(["m1", "日本語🦙", ""]),
    engine=st.sampled_from(["", "ollama", "vllm"]),
    status=st.sampled_from([200, 404, 499, 500]),
    error=st.sampled_from(["", "stream_interrupted"]),
    latency_ms=st.floats(0, 1e6),
    first_token_ms=st.none() | st.floats(0, 1e6),
    tokens_in=st.none() | st.integers(0, 2**53),
    tokens_out=st.none() | st.integers(0, 1000),
    cached_tokens=st.none() | st.integers(0, 1000),
    reasoning_tokens=st.none() | st.integers(0, 1000),
    estimated=st.booleans(),
    api=st.sampled_from(["", "helper"]),
)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, DataPaths]]:
    """One store for all examples: to make one takes longer than an example."""
    paths = data_paths(tmp_path_factory.mktemp("usage") / "data")
    prepare(paths)
    migrate(paths)
    with closing(open_store(paths)) as store:
        yield store, paths


@settings(max_examples=80, deadline=None)
@given(batches=st.lists(st.lists(served, max_size=25), max_size=6))
def test_sums_equal_a_recount_whatever_the_batches(
    shared: tuple[Store, DataPaths], batches: list[list[RequestRecord]]
):
    """Ids that come again, in one batch or in others, count as they were stored first."""
    store, paths = shared
    store.records.prune(END, 0)
    store.usage.prune(END, END)
    first: dict[str, RequestRecord] = {}
    for number, batch in enumerate(batches):
        store.records.store("i", batch, Checkpoint(1, number))
        first = {each.id: each for each in batch[::-1]} | first
    assert rows(paths) == expected(list(first.values()))
    whole = Tally()
    for tally in store.usage.sums(UsageFilter(by="model")).rows.values():
        whole.add(tally)
    assert whole.requests == len(first)
    assert whole.tokens_in == sum(each.tokens_in or 0 for each in first.values())


moments = st.none() | st.integers(-30, 100).map(lambda hour: START + hour * HOUR)


@settings(max_examples=60, deadline=None)
@given(
    records=st.lists(served, max_size=30, unique_by=lambda each: each.id),
    by=st.sampled_from(["key", "model", "engine", "api", "day", "hour"]),
    since=moments,
    until=moments,
)
def test_a_span_has_what_began_in_it(
    shared: tuple[Store, DataPaths],
    records: list[RequestRecord],
    by: str,
    since: int | None,
    until: int | None,
):
    """However it lies over days and hours."""
    store, _ = shared
    store.records.prune(END, 0)
    store.usage.prune(END, END)
    store.records.store("i", records, Checkpoint(1, 1))
    found = requests(store, by, since=since, until=until)
    first, last = since or 0, until or END
    assert sum(found.values()) == sum(first <= each.time < last for each in records)


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A telemetry.db as it was before there were sums."""
    path = tmp_path_factory.mktemp("before") / "telemetry.db"
    folder = Path(migrations.__file__).parent
    script = ScriptDirectory(str(folder), version_locations=[str(folder / "telemetry")])

    def steps(_heads: object, _context: MigrationContext) -> list[MigrationStep]:
        old = reversed(list(script.iterate_revisions("telemetry_2", "base")))
        return [MigrationStep.upgrade_from_script(script.revision_map, item) for item in old]

    with closing(Database(path)) as database, database.write() as connection:
        context = MigrationContext.configure(connection, opts={"script": script, "fn": steps})
        with Operations.context(context):
            context.run_migrations()
    return path


PLAIN = {"cached_tokens": None, "reasoning_tokens": None, "estimated": False, "api": ""}


@settings(max_examples=15, deadline=None)
@given(records=st.lists(served, max_size=40, unique_by=lambda each: each.id))
def test_records_from_before_are_counted_when_the_tables_come(
    shared: tuple[Store, DataPaths], before: Path, records: list[RequestRecord]
):
    """The migration's sums are those that storing the records makes."""
    _, paths = shared
    paths = data_paths(paths.root.with_name("migrated"))
    prepare(paths)
    shutil.copy(before, paths.telemetry_db)
    old = [msgspec.structs.replace(each, **PLAIN) for each in records]
    with closing(sqlite3.connect(paths.telemetry_db)) as database, database:
        database.executemany(
            f"INSERT INTO records VALUES ({', '.join('?' * 14)})",
            [msgspec.structs.astuple(each)[:14] for each in old],
        )
    migrate(paths)
    assert rows(paths) == expected(old)
    with closing(open_store(paths)) as store:
        assert sorted(store.records.search(RecordFilter()), key=lambda each: each.id) == sorted(
            old, key=lambda each: each.id
        )
