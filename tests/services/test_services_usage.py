"""What was used, through the service."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flm.domain.keys import ApiKey, KeyId
from flm.domain.records import RequestRecord
from flm.errors import InvalidValue
from flm.ports.clock import Clock
from flm.ports.repositories import Store
from flm.ports.telemetry import Checkpoint, RecordFilter
from flm.services.logs import PORTION, LogService
from flm.services.usage import UsageReport, UsageService

NOW = 1_767_225_600.0
"""2026-01-01T00:00Z, where the clock stands."""


def record(id_: str, **changes: object) -> RequestRecord:
    plain = {
        "time": NOW - 60, "key_id": "k1", "model": "m", "engine": "e", "route": "/", "status": 200,
        "error": "", "latency_ms": 1.0, "first_token_ms": None, "tokens_in": 1, "tokens_out": 1,
        "client": "c", "streamed": False,
    }  # fmt: skip
    return RequestRecord(id=id_, **{**plain, **changes})


@pytest.fixture
def usage(store: Store, clock: Clock) -> UsageService:
    """Two keys, of which one is in the store, and somebody without any."""
    store.keys.add(
        ApiKey(id=KeyId("k1"), label="laptop", digest=b"x", last4="abcd", created_at=1.0)
    )
    store.records.store(
        "i",
        [
            record("a"),
            record("b", key_id="owner", tokens_out=50, time=NOW - 7_000),
            record(
                "c",
                key_id="",
                engine="",
                status=401,
                error="x",
                time=NOW - 90_000,
                tokens_in=None,
                tokens_out=None,
            ),
        ],
        Checkpoint(1, 1),
    )
    return UsageService(store.usage, store.keys, clock)


def names(report: UsageReport) -> list[str]:
    return [row.name for row in report.rows]


def test_keys_come_with_their_labels_the_busiest_first(usage: UsageService):
    """By tokens; what no key was given for is counted as well."""
    report = usage.report(by="key")
    assert [(row.name, row.label, row.tally.tokens) for row in report.rows] == [
        ("owner", None, 51), ("k1", "laptop", 2), ("", None, 0),
    ]  # fmt: skip
    assert (report.total.requests, report.total.errors, report.total.tokens) == (3, 1, 53)


def test_times_are_utc_and_in_order(usage: UsageService):
    """Days as dates, hours as ISO 8601."""
    assert names(usage.report(by="day")) == ["2025-12-30", "2025-12-31"]
    assert names(usage.report(by="hour")) == [
        "2025-12-30T23:00Z", "2025-12-31T22:00Z", "2025-12-31T23:00Z",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("wanted", "hours"),
    [
        ({"since": "90m"}, ["2025-12-31T22:00Z", "2025-12-31T23:00Z"]),
        ({"since": "2025-12-31T23:30"}, ["2025-12-31T23:00Z"]),
        ({"since": "2025-12-31"}, ["2025-12-31T22:00Z", "2025-12-31T23:00Z"]),
        ({"until": "2025-12-30"}, ["2025-12-30T23:00Z"]),
        ({"until": "90m"}, ["2025-12-30T23:00Z", "2025-12-31T22:00Z"]),
        ({"since": "2025-12-31", "until": "1h"}, ["2025-12-31T22:00Z"]),
        ({"since": "900000000w"}, ["2025-12-30T23:00Z", "2025-12-31T22:00Z", "2025-12-31T23:00Z"]),
        ({"key": "k1"}, ["2025-12-31T23:00Z"]),
        ({"model": "m", "key": "owner"}, ["2025-12-31T22:00Z"]),
    ],
)
def test_spans_are_taken_to_whole_hours(usage: UsageService, wanted: dict, hours: list[str]):
    """Outwards, and a date in `until` is all of that day."""
    assert names(usage.report(by="hour", **wanted)) == hours


def test_hours_are_those_of_a_week_unless_it_is_said_since_when(usage: UsageService, store: Store):
    """Nobody reads thousands of lines; days are all told."""
    old = record("old", time=NOW - 8 * 86_400)
    store.records.store("i", [old, record("week", time=NOW - 7 * 86_400)], Checkpoint(1, 2))
    assert names(usage.report(by="hour"))[0] == "2025-12-25T00:00Z"
    assert names(usage.report(by="hour", until="2025-12-24")) == ["2025-12-24T00:00Z"]
    assert names(usage.report(by="hour", since="30d"))[0] == "2025-12-24T00:00Z"
    assert names(usage.report(by="day"))[0] == "2025-12-24"


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"until": "tomorrow"}, "'tomorrow' is no moment to look until."),
        ({"since": "yesterday"}, "'yesterday' is no moment to look from."),
        ({"since": "1h", "until": "3d"}, "The span ends before it begins: from 1h until 3d."),
    ],
)
def test_what_is_no_span_is_refused(usage: UsageService, wanted: dict, words: str):
    """Nothing is guessed."""
    with pytest.raises(InvalidValue) as caught:
        usage.report(**wanted)
    assert caught.value.message == words


class Waiting:
    """Stores a batch at each wait, as a gateway would in the meantime; the last wait fails."""

    def __init__(self, *steps: Callable[[], object]) -> None:
        self.steps = iter(steps)

    def __call__(self, seconds: float) -> None:
        """Do what happens meanwhile."""
        assert seconds == 0.5
        next(self.steps)()


class Enough(Exception):
    """Ctrl-C of a test."""


def enough() -> None:
    raise Enough


def followed(store: Store, clock: Clock, *steps: Callable[[], object], **wanted: object):
    seen: list[list[str]] = []
    logs = LogService(store.records, clock, Waiting(*steps, enough))
    with pytest.raises(Enough):
        for found in logs.follow(**wanted):
            seen.append([each.id for each in found])
    return seen


def storing(store: Store, *records: RequestRecord) -> Callable[[], object]:
    return lambda: store.records.store("i", records, Checkpoint(1, 1))


def test_a_log_is_followed(store: Store, clock: Clock):
    """First the newest, oldest first; then what comes, late ones included, each once."""
    storing(store, record("a", time=1.0), record("b", time=2.0), record("c", time=3.0))()
    late = storing(store, record("d", time=0.5), record("b", time=2.0))
    nothing = storing(store)
    after = storing(store, record("e", time=0.1, model="n"), record("f"))
    assert followed(store, clock, late, nothing, after, limit=2) == [
        ["b", "c"], ["d"], ["e", "f"],
    ]  # fmt: skip
    assert followed(store, clock, storing(store, record("g")), limit=0, model="m") == [[], ["g"]]


def test_more_than_one_look_can_hold_is_told_without_waiting(store: Store, clock: Clock):
    """In portions, none left out."""
    many = storing(store, *(record(f"{number:05d}") for number in range(PORTION + 5)))
    seen = followed(store, clock, many)
    assert [len(found) for found in seen] == [0, PORTION, 5]
    assert [id_ for found in seen for id_ in found] == [f"{n:05d}" for n in range(PORTION + 5)]


def test_the_limit_of_what_is_followed_has_bounds(store: Store, clock: Clock):
    """None before is fine; fewer are not."""
    with pytest.raises(InvalidValue):
        next(LogService(store.records, clock).follow(limit=-1))


@pytest.mark.parametrize(("wanted", "found"), [({"engine": "f"}, ["b"]), ({"api": "h"}, ["c"])])
def test_the_log_is_searched_by_engine_and_by_publication(
    store: Store, clock: Clock, wanted: dict, found: list[str]
):
    """As by all the others."""
    storing(store, record("a"), record("b", engine="f"), record("c", api="h"))()
    assert [each.id for each in LogService(store.records, clock).search(**wanted)] == found
    assert len(store.records.search(RecordFilter())) == 3
