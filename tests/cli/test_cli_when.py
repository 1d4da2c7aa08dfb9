"""Times as people write them."""

from __future__ import annotations

import pytest

from flm.cli import when
from flm.errors import InvalidValue

NOW = 1_795_000_000.0


def test_a_span_counts_from_now() -> None:
    """`30d` is thirty days on, `2h` two hours back."""
    assert when.after("30d", NOW) == NOW + 2_592_000
    assert when.before("2h", NOW) == NOW - 7_200
    assert when.after("1 W", NOW) == NOW + 604_800


def test_a_time_with_an_offset_is_that_moment() -> None:
    """ISO 8601, `Z` included."""
    assert when.before("2026-11-21T00:00:00Z", NOW) == 1_795_219_200
    assert when.before("2026-11-21T09:00:00+09:00", NOW) == 1_795_219_200


def test_a_key_cannot_expire_in_the_past() -> None:
    """It would never have worked."""
    with pytest.raises(InvalidValue, match="not in the future"):
        when.after("2020-01-01", NOW)


@pytest.mark.parametrize("text", ["", "soon", "30", "-1d", "30 days", "٣d", "9999999d"])
def test_what_is_no_time_is_refused(text: str) -> None:
    """With what would be right."""
    with pytest.raises(InvalidValue) as refused:
        when.after(text, NOW)

    assert "30d" in refused.value.remedy


def test_a_grace_period_may_be_none() -> None:
    """`0` needs no unit; another number does."""
    assert when.seconds("0") == 0
    assert when.seconds("24h") == 86_400
    with pytest.raises(InvalidValue, match="no time span"):
        when.seconds("24")


def test_programs_get_iso_8601_in_utc() -> None:
    """To the millisecond, with Z; None stays None."""
    assert when.iso(1_795_219_200.25) == "2026-11-21T00:00:00.250Z"
    assert when.iso(None) is None
    assert when.local(None) == "-"
