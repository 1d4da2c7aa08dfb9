"""Times as people write and read them: `30d`, `2026-12-31`, and ISO 8601 for programs."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from flm.errors import N_, InvalidValue

_SPAN = re.compile(r"(\d{1,6})\s*(s|m|h|d|w|y)", re.ASCII | re.IGNORECASE)
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800, "y": 31_536_000}


def after(text: str, now: float) -> float:
    """The moment `text` from `now` on (`30d`), or the one it names, in UTC seconds."""
    span = _span(text)
    moment = _moment(text) if span is None else now + span
    if moment <= now:
        raise InvalidValue(
            N_("{text!r} is not in the future."),
            remedy=N_("Write a time span such as 30d, or a later date such as 2030-12-31."),
            text=text,
        )
    return moment


def before(text: str, now: float) -> float:
    """The moment `text` ago (`2h`), or the one it names, in UTC seconds."""
    span = _span(text)
    return _moment(text) if span is None else now - span


def seconds(text: str) -> float:
    """A time span such as `90s` or `24h`; `0` is none."""
    span = 0 if text.strip() == "0" else _span(text)
    if span is None:
        raise InvalidValue(
            N_("{text!r} is no time span."),
            remedy=N_("Write a number and s, m, h, d, w or y, for example 24h."),
            text=text,
        )
    return span


def _span(text: str) -> float | None:
    found = _SPAN.fullmatch(text.strip())
    return int(found[1]) * _SECONDS[found[2].lower()] if found else None


def _moment(text: str) -> float:
    """An ISO 8601 date or time; without an offset it is local time, as people mean it."""
    try:
        return datetime.fromisoformat(text.strip()).timestamp()
    except (ValueError, OverflowError, OSError) as error:
        raise InvalidValue(
            N_("{text!r} is no time."),
            remedy=N_("Write a time span such as 30d or 2h, or a date such as 2030-12-31."),
            text=text,
        ) from error


def iso(moment: float | None) -> str | None:
    """ISO 8601 in UTC, to the millisecond, for programs."""
    if moment is None:
        return None
    text = datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def local(moment: float | None) -> str:
    """Local time to the second, for people; a dash for none."""
    if moment is None:
        return "-"
    return datetime.fromtimestamp(moment, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
