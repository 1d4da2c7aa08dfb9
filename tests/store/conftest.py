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
