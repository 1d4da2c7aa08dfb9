"""Times as people read them, and as programs do."""

from __future__ import annotations

from datetime import UTC, datetime


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
