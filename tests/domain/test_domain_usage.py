"""Sums of records, on examples worked out by hand."""

from __future__ import annotations

import msgspec
import pytest

from flm.domain.records import RecordDetails, RequestRecord, details_of, tokens_per_second
from flm.domain.usage import Group, Tally, by_day, tallied

HOUR = 1_767_225_600
"""2026-01-01T00:00Z."""

PLAIN = RequestRecord(
    id="req_1", time=HOUR + 60.5, key_id="k", model="m", engine="e", route="/v1/chat/completions",
    status=200, error="", latency_ms=500.0, first_token_ms=None, tokens_in=10, tokens_out=20,
    client="127.0.0.1", streamed=False, cached_tokens=4, reasoning_tokens=5, api="a",
)  # fmt: skip
STREAM = msgspec.structs.replace(
    PLAIN, first_token_ms=100.0, streamed=True, cached_tokens=None, reasoning_tokens=None
)
REFUSED = msgspec.structs.replace(
    PLAIN, model="<what a stranger wrote>", engine="", api="", key_id="", status=401,
    error="invalid_api_key", tokens_in=None, tokens_out=None,
)  # fmt: skip


def changed(**changes: object) -> RequestRecord:
    return msgspec.structs.replace(PLAIN, **changes)


def test_records_of_one_group_are_summed():
    """Tokens of a stream are timed from its first one on, which is not counted then."""
    assert tallied([PLAIN, STREAM]) == {
        Group(HOUR, "m", "e", "a", "k"): Tally(
            requests=2, tokens_in=20, tokens_out=40, cached_tokens=4, reasoning_tokens=5,
            latency_us=1_000_000, first_tokens=1, first_token_us=100_000,
            generated=39, generated_us=900_000,
        )
    }  # fmt: skip


def test_what_no_engine_was_asked_for_has_no_model():
    """Its name is whatever a stranger wrote; that it failed is counted."""
    assert tallied([REFUSED]) == {Group(HOUR, "", "", "", ""): Tally(requests=1, errors=1)}


@pytest.mark.parametrize(
    ("changes", "untold"),
    [
        ({}, 1),
        ({"status": 499, "error": "client_closed"}, 1),
        ({"error": "stream_interrupted"}, 1),
        ({"status": 502, "error": "engine_error"}, 0),
        ({"engine": ""}, 0),
        ({"tokens_in": 3}, 0),
    ],
)
def test_tokens_that_nobody_told_are_counted_as_such(changes: dict, untold: int):
    """Where an engine worked for the request, whatever became of it."""
    (tally,) = tallied([changed(**{"tokens_in": None, "tokens_out": None, **changes})]).values()
    assert tally.untold == untold


def test_a_guess_is_counted_as_one():
    """Its tokens count as others do."""
    (tally,) = tallied([changed(estimated=True), PLAIN]).values()
    assert (tally.estimated, tally.requests, tally.tokens_in) == (1, 2, 20)


def test_groups_are_hours_models_engines_publications_and_keys():
    """A record that differs in one of them is in a group of its own."""
    records = [PLAIN, *(
        changed(**change)
        for change in (
            {"time": HOUR + 3_600.0}, {"model": "n"}, {"engine": "f"}, {"api": ""}, {"key_id": ""}
        )
    )]  # fmt: skip
    assert list(tallied(records)) == [
        Group(HOUR, "m", "e", "a", "k"),
        Group(HOUR + 3_600, "m", "e", "a", "k"),
        Group(HOUR, "n", "e", "a", "k"),
        Group(HOUR, "m", "f", "a", "k"),
        Group(HOUR, "m", "e", "", "k"),
        Group(HOUR, "m", "e", "a", ""),
    ]


def test_hours_become_days():
    """UTC days."""
    hours = tallied([PLAIN, changed(time=HOUR + 86_399.9), changed(time=HOUR + 86_400.0)])
    days = by_day(hours)
    assert {group.time: tally.requests for group, tally in days.items()} == {
        HOUR: 2,
        HOUR + 86_400: 1,
    }


def test_what_is_told_of_sums():
    """Latency is that of what went well."""
    tally = Tally(
        requests=3, errors=1, tokens_in=5, tokens_out=7, latency_us=5_000, first_tokens=4,
        first_token_us=2_000, generated=30, generated_us=500_000,
    )  # fmt: skip
    assert (tally.tokens, tally.mean_latency_ms) == (12, 2.5)
    assert (tally.mean_first_token_ms, tally.tokens_per_second) == (0.5, 60.0)
    nothing = Tally(requests=1, errors=1)
    told = (nothing.mean_latency_ms, nothing.mean_first_token_ms, nothing.tokens_per_second)
    assert told == (None, None, None)


@pytest.mark.parametrize(
    ("changes", "speed"),
    [
        ({"tokens_out": 20, "latency_ms": 500.0}, 40.0),
        ({"tokens_out": 21, "latency_ms": 600.0, "first_token_ms": 100.0}, 40.0),
        ({"tokens_out": 1, "first_token_ms": 499.9}, None),
        ({"tokens_out": None}, None),
        ({"tokens_out": 0}, None),
        ({"first_token_ms": 500.0}, None),
    ],
)
def test_how_fast_the_tokens_of_one_record_came(changes: dict, speed: float | None):
    """One token that came at once says nothing."""
    assert tokens_per_second(changed(**changes)) == speed


@pytest.mark.parametrize("text", ["", "{", "[]", '{"tries": 3}', '{"new": "of a later version"}'])
def test_details_that_cannot_be_read_are_none(text: str):
    """A record is shown whatever is the matter with them."""
    assert details_of(changed(details=text)) == RecordDetails()
