"""A store in a directory of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flm.paths import DataPaths, data_paths, prepare
from flm.ports.repositories import Store
from flm.store import migrate, open_store


@pytest.fixture
def paths(tmp_path: Path) -> DataPaths:
    """A data directory with current databases."""
    paths = data_paths(tmp_path / "data")
    prepare(paths)
    migrate(paths)
    return paths


@pytest.fixture
def store(paths: DataPaths) -> Iterator[Store]:
    """The store of that directory."""
    store = open_store(paths)
    yield store
    store.close()


class OwnClock:
    """A clock that stands until it is moved."""

    def __init__(self, now: float) -> None:
        self.time = now

    def now(self) -> float:
        """UTC seconds."""
        return self.time

    def monotonic(self) -> float:
        """The same."""
        return self.time


class Bell:
    """Counts its pokes."""

    def __init__(self) -> None:
        self.pokes = 0

    def poke(self) -> None:
        """One more."""
        self.pokes += 1


@pytest.fixture
def clock() -> OwnClock:
    """It is 2026-01-01 00:00 UTC."""
    return OwnClock(1_767_225_600.0)


@pytest.fixture
def bell() -> Bell:
    """Who is told that the store changed."""
    return Bell()
