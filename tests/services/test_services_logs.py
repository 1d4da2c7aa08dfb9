"""The request log through the service."""

from __future__ import annotations

import pytest

from flm.domain.records import RequestRecord
from flm.errors import InvalidValue
from flm.ports.clock import Clock
from flm.ports.repositories import Store
from flm.ports.telemetry import Checkpoint
from flm.services.logs import LogService, parse_since, parse_status

NOW = 1_767_225_600.0


@pytest.fixture
def logs(store: Store, clock: Clock) -> LogService:
    """Three requests: a minute, an hour and a day old."""
    served = {
        "minute": (60, 200, ""),
        "hour": (3_600, 404, "model_not_found"),
        "day": (86_400, 200, ""),
    }
    store.records.store(
        "i",
        [
            RequestRecord(
                id=name, time=NOW - age, key_id="k", model="m", engine="e", route="/",
                status=status, error=error, latency_ms=1.0, first_token_ms=None, tokens_in=None,
                tokens_out=None,
                client="c", streamed=False,
            )
            for name, (age, status, error) in served.items()
        ],
        Checkpoint(1, 1),
    )  # fmt: skip
    return LogService(store.records, clock)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({}, ["minute", "hour", "day"]),
        ({"limit": 1}, ["minute"]),
        ({"since": "2h"}, ["minute", "hour"]),
        ({"since": "2025-12-31T23:30"}, ["minute"]),
        ({"status": "4XX"}, ["hour"]),
        ({"status": "ok"}, ["minute", "day"]),
        ({"model": "m", "key": "k", "status": "400 - 499"}, ["hour"]),
        ({"key": "other"}, []),
    ],
)
def test_the_log_is_searched_as_it_is_asked(logs: LogService, wanted: dict, found: list[str]):
    """What a person types becomes a filter."""
    assert [record.id for record in logs.search(**wanted)] == found


@pytest.mark.parametrize("limit", [0, -1, 100_001])
def test_the_limit_has_bounds(logs: LogService, limit: int):
    """Nobody asks for nothing, or for everything at once."""
    with pytest.raises(InvalidValue):
        logs.search(limit=limit)


@pytest.mark.parametrize("text", ["", "yesterday", "15", "2026-02-30"])
def test_what_is_no_moment_is_refused_with_examples(text: str):
    """The remedy shows the forms."""
    with pytest.raises(InvalidValue) as caught:
        parse_since(text, NOW)
    assert "15m, 2h or 3d" in caught.value.remedy


@pytest.mark.parametrize("text", ["", "6xx", "099", "4", "499-400", "4xx-5xx", "400-", "good"])
def test_what_is_no_status_is_refused_with_examples(text: str):
    """The remedy shows the forms."""
    with pytest.raises(InvalidValue) as caught:
        parse_status(text)
    assert caught.value.remedy == "Use 404, 4xx, 400-499, ok or error."
