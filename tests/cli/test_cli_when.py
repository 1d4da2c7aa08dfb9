"""Times as they are shown."""

from __future__ import annotations

import time

import pytest

from flm.cli import when


def test_programs_get_iso_8601_in_utc() -> None:
    """To the millisecond, with Z; None stays None."""
    assert when.iso(1_795_219_200.25) == "2026-11-21T00:00:00.250Z"
    assert when.iso(None) is None


def test_people_get_their_own_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """To the second, in the zone of the machine; a dash for what never was."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert when.local(1_795_219_200.25) == "2026-11-21 09:00:00"
    finally:
        monkeypatch.undo()
        time.tzset()
    assert when.local(None) == "-"
