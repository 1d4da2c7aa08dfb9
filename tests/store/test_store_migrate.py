"""Migrations: fresh, current, newer, damaged, at once."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from flm.errors import StoreError
from flm.paths import DataPaths, data_paths, prepare
from flm.ports.repositories import Revisions
from flm.store import migrate, migrations, open_store, tables
from flm.store.database import Database
from flm.store.migrate import HEADS

SCRIPTS = Path(migrations.__file__).parent
METADATA = {"config": tables.config, "security": tables.security, "telemetry": tables.telemetry}


def databases(paths: DataPaths) -> dict[str, Path]:
    return {
        "config": paths.config_db,
        "security": paths.security_db,
        "telemetry": paths.telemetry_db,
    }


@pytest.mark.parametrize("name", ["config", "security", "telemetry"])
def test_the_migrations_make_the_tables_that_the_code_uses(paths: DataPaths, name: str):
    """Alembic's own comparison finds no difference."""
    with closing(Database(databases(paths)[name])) as database, database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, METADATA[name]) == []


@pytest.mark.parametrize("name", ["config", "security", "telemetry"])
def test_the_newest_migration_is_the_one_the_code_expects(name: str):
    """Whoever adds a migration moves HEADS."""
    script = ScriptDirectory(str(SCRIPTS), version_locations=[str(SCRIPTS / name)])
    assert script.get_heads() == [HEADS[name]]


def test_the_databases_are_private_whatever_the_umask(tmp_path: Path):
    """With what SQLite puts beside them while they are open."""
    before = os.umask(0)
    try:
        paths = data_paths(tmp_path / "data")
        prepare(paths)
        migrate(paths)
        store = open_store(paths)
        store.settings.set("a", "1")
        store.keys.revoke("none", 1.0)
        files = [path for path in paths.root.iterdir() if path.is_file()]
    finally:
        os.umask(before)
    modes = {path.name: oct(stat.S_IMODE(path.stat().st_mode)) for path in files}
    store.close()
    assert modes["config.db"] == modes["config.db-wal"] == modes["config.db-shm"] == "0o600"
    assert set(modes.values()) == {"0o600"}


def test_records_lie_in_large_pages(paths: DataPaths):
    """A search through a million of them from a cold disk takes a third of the time."""
    with closing(sqlite3.connect(paths.telemetry_db)) as database:
        assert database.execute("PRAGMA page_size").fetchone() == (16_384,)


def test_migrating_twice_changes_nothing(paths: DataPaths):
    """Every start migrates."""
    with closing(open_store(paths)) as store:
        store.settings.set("a", "1")
        migrate(paths)
        assert store.settings.all() == {"a": "1"}
        assert store.revisions() == Revisions(1, 0)


def test_a_current_store_costs_no_alembic_no_orm_and_no_cryptography(paths: DataPaths):
    """What a start imports is part of how long it takes."""
    code = (
        "import sys; from flm.paths import data_paths; from flm.store import migrate, open_store\n"
        "paths = data_paths(sys.argv[1]); migrate(paths); open_store(paths).everything()\n"
        "dear = ('alembic', 'mako', 'cryptography', 'sqlalchemy.orm', 'sqlalchemy.ext.asyncio')\n"
        "assert not [name for name in dear if name in sys.modules]\n"
    )
    command = [sys.executable, "-c", code, str(paths.root)]
    subprocess.run(command, check=True, timeout=60)


@pytest.mark.parametrize("name", ["config", "security", "telemetry"])
def test_a_newer_database_is_refused(paths: DataPaths, name: str):
    """The message names the file and its schema; nothing is touched."""
    path = databases(paths)[name]
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("UPDATE alembic_version SET version_num = 'future_9'")
    with pytest.raises(StoreError) as caught:
        migrate(paths)
    assert caught.value.message == (
        f"{path} was written by a newer version of FLM (its schema is future_9)."
    )
    assert "Install that version" in caught.value.remedy


@pytest.mark.parametrize(
    "content", [b"no database at all" * 100, b"SQLite format 3\x00" + b"\xff" * 4080]
)
def test_a_damaged_file_is_named(paths: DataPaths, content: bytes):
    """A StoreError with a remedy, not a traceback from a driver."""
    paths.security_db.write_bytes(content)
    with pytest.raises(StoreError) as caught:
        migrate(paths)
    assert str(paths.security_db) in caught.value.message
    assert "backup" in caught.value.remedy


def test_a_page_damaged_later_is_a_store_error_too(paths: DataPaths):
    """Repositories translate what the driver says."""
    with paths.security_db.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (paths.security_db.stat().st_size - 4096))
    with closing(open_store(paths)) as store, pytest.raises(StoreError) as caught:
        store.everything()
    assert caught.value.message.startswith(f"{paths.security_db} is damaged")


def test_a_directory_in_a_databases_place_is_a_store_error(tmp_path: Path):
    """Named, with what to look at."""
    paths = data_paths(tmp_path / "data")
    prepare(paths)
    paths.config_db.mkdir()
    with pytest.raises(StoreError) as caught:
        migrate(paths)
    assert str(paths.config_db) in caught.value.message


def test_a_database_that_is_missing_its_tables_is_a_store_error(tmp_path: Path):
    """Opened without having been migrated."""
    paths = data_paths(tmp_path / "data")
    prepare(paths)
    with closing(open_store(paths)) as store, pytest.raises(StoreError):
        store.everything()


def test_a_locked_database_is_a_store_error_that_says_so(paths: DataPaths):
    """After the wait, which this test owns."""
    with (
        closing(sqlite3.connect(paths.config_db, isolation_level=None)) as other,
        closing(Database(paths.config_db, wait_seconds=0)) as database,
    ):
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError) as caught, database.write():
            pass
    assert caught.value.message == (
        f"{paths.config_db} is locked by another program for more than 0 seconds."
    )


def test_an_empty_file_is_migrated(tmp_path: Path):
    """What a killed first start may have left."""
    paths = data_paths(tmp_path / "data")
    prepare(paths)
    paths.config_db.touch()
    migrate(paths)
    with closing(open_store(paths)) as store:
        assert store.revisions() == Revisions(0, 0)


def test_a_strange_path_is_only_a_path(tmp_path: Path):
    """Nothing in a directory's name is taken for a URL's parameters."""
    paths = data_paths(tmp_path / "日本 a?mode=memory&x=%41#f;")
    prepare(paths)
    migrate(paths)
    assert {path.name for path in paths.root.glob("*.db")} == {
        "config.db",
        "security.db",
        "telemetry.db",
    }
