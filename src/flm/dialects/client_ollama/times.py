"""Times as Ollama's clients read them."""

from __future__ import annotations

from datetime import UTC, datetime

_NANOSECONDS = 1_000_000_000


def rfc3339(seconds: float) -> str:
    """UTC seconds as RFC 3339 with an offset in digits: Python before 3.11 reads no `Z`."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")


def nanoseconds(seconds: float) -> int:
    """A duration in nanoseconds; none is negative, whatever a clock did meanwhile."""
    return max(0, round(seconds * _NANOSECONDS))
