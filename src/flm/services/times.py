"""Spans and moments as people write them: `30d`, `12h`, `2026-12-31`, `2026-12-31T18:00+09:00`.

Weeks, days, hours, minutes and seconds; a date or time without an offset is UTC.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta

_SPAN = re.compile(r"([0-9]{1,9})\s*([smhdw])", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


def span(text: str) -> float | None:
    """The seconds in `15m`, `2h`, `3d`; None when `text` is no span."""
    match = _SPAN.fullmatch(text.strip().lower())
    return None if match is None else float(match[1]) * _SECONDS[match[2]]


def moment(text: str, *, end_of_day: bool = False) -> float | None:
    """UTC seconds of an ISO 8601 date or date-time; None when `text` is neither.

    A date alone is its first moment, or with `end_of_day` the last: the first of the next day.
    """
    text = text.strip()
    try:
        if _is_date(text):
            start = datetime.combine(date.fromisoformat(text), time.min, UTC)
            return (start + timedelta(days=1 if end_of_day else 0)).timestamp()
        at = datetime.fromisoformat(text)
        return (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True
