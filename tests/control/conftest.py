"""What several tests of the controller stand on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flm.paths import data_paths, prepare
from flm.ports.repositories import Store
from flm.store import migrate, open_store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A store of its own."""
    paths = data_paths(tmp_path / "data")
    prepare(paths)
    migrate(paths)
    opened = open_store(paths)
    yield opened
    opened.close()
