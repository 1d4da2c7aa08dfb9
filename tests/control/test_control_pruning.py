"""What has lain in the store long enough is taken out."""

from __future__ import annotations

from pathlib import Path

from flm.control.pruning import Pruning
from flm.control.publisher import Read
from flm.control.response_keeping import ResponseKeeping
from flm.control.worker import StoreThread
from flm.domain.engines import EngineId
from flm.domain.policy import Policy
from flm.domain.records import RequestRecord
from flm.paths import data_paths
from flm.ports.repositories import Everything, Revisions, Store
from flm.ports.telemetry import Checkpoint, HealthMark, RecordFilter, StoredResponse, UsageFilter
from flm.settings import resolve
from flm.store import FileSecrets

DAY = 86_400.0
NOW = 1_767_225_600.0
"""2026-01-01T00:00Z."""

READ = Read(
    everything=Everything(Revisions(0, 0), {}, [], [], [], Policy()),
    settings=resolve(
        {},
        {},
        {
            "logs.keep_days": 10,
            "usage.keep_days": 20,
            "engine.history_days": 5,
            "responses.keep_days": 5,
        },
    ),
    engine_keys={},
    embedded=(),
)


class StillClock:
    """Always now."""

    def now(self) -> float:
        return NOW

    def monotonic(self) -> float:
        return 0.0


def record(days: float) -> RequestRecord:
    """A request of so many days ago."""
    return RequestRecord(
        id=f"req_{days}", time=NOW - days * DAY, key_id="owner", model="m", engine="ollama",
        route="/v1/chat/completions", status=200, error="", latency_ms=1.0, first_token_ms=None,
        tokens_in=1, tokens_out=1, client="127.0.0.1", streamed=False,
    )  # fmt: skip


def response(days: float) -> StoredResponse:
    """A response that ends in so many days."""
    return StoredResponse(
        id=f"resp_{days}", key_id="owner", model="m", previous="", created_at=NOW - DAY,
        expires_at=NOW + days * DAY, sealed=b"x",
    )  # fmt: skip


async def test_everything_goes_by_its_own_setting(store: Store, tmp_path: Path) -> None:
    """Records, usage, the engines' history and kept responses."""
    store.records.store("i", [record(9), record(11), record(30)], Checkpoint(1, 1))
    marks = [
        HealthMark(engine=EngineId("ollama"), time=NOW - days * DAY, state="error-network")
        for days in (4, 6)
    ]
    store.health.add(marks)
    store.responses.keep([response(1), response(-1)])
    thread = StoreThread()
    secrets = FileSecrets(data_paths(tmp_path / "data"))
    keeping = ResponseKeeping(store.responses, secrets, thread, StillClock(), lambda: READ)

    await Pruning(store, keeping, StillClock(), lambda: READ.settings).turn()

    assert [each.id for each in store.records.search(RecordFilter())] == ["req_9"]
    hours = store.usage.sums(UsageFilter(by="hour")).rows
    assert sorted(hours) == [NOW - 11 * DAY, NOW - 9 * DAY]
    days = store.usage.sums(UsageFilter(by="day")).rows
    assert sorted(days) == [NOW - 30 * DAY, NOW - 11 * DAY, NOW - 9 * DAY]
    assert store.health.history() == marks[:1]
    assert store.responses.totals().count == 1
    await keeping.stop()
    thread.close()
