"""Spans and moments as people write them."""

from __future__ import annotations

import pytest

from flm.services.times import moment, span


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("45s", 45),
        ("15m", 900),
        ("12h", 43_200),
        ("30d", 2_592_000),
        (" 2 W ", 1_209_600),
        ("0m", 0),
    ],
)
def test_a_span_is_a_number_and_a_unit(text: str, seconds: float):
    """Seconds, minutes, hours, days, weeks."""
    assert span(text) == seconds


@pytest.mark.parametrize("text", ["", "15", "m", "1.5h", "-3d", "3y", "1h30m", "9999999999d", "٣d"])
def test_what_is_no_span_is_none(text: str):
    """Nothing is guessed."""
    assert span(text) is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-01-01", 1_767_225_600),
        ("2026-01-01T00:00:01", 1_767_225_601),
        ("2026-01-01 00:00:01Z", 1_767_225_601),
        ("2026-01-01T09:00+09:00", 1_767_225_600),
        (" 20260101 ", 1_767_225_600),
    ],
)
def test_a_moment_is_iso_8601_and_utc_unless_it_says_otherwise(text: str, seconds: float):
    """Dates and date-times."""
    assert moment(text) == seconds


def test_the_end_of_a_day_is_the_start_of_the_next():
    """A key that expires on a date works on that date."""
    assert moment("2025-12-31", end_of_day=True) == 1_767_225_600


@pytest.mark.parametrize("text", ["", "tomorrow", "2026-13-01", "2026-02-30", "18:00"])
def test_what_is_no_moment_is_none(text: str):
    """Nothing is guessed."""
    assert moment(text) is None


def test_the_end_of_time_is_no_crash():
    """9999-12-31 has no next day."""
    assert moment("9999-12-31", end_of_day=True) is None
