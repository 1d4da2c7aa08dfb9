"""Migrations: bring the three databases to the schema of this code.

Alembic is imported only when there is something to do: it costs more than the look that tells.
A database migrates in one transaction that holds its write lock, so that of several processes
one migrates and the others wait and find it done, and a killed one leaves nothing half-made.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from types import MappingProxyType

from sqlalchemy import Connection, inspect, text

from flm.errors import N_, StoreError
from flm.paths import DataPaths
from flm.store.database import PAGE_BYTES, Database

HEADS: Mapping[str, str] = MappingProxyType(
    {"config": "config_3", "security": "security_3", "telemetry": "telemetry_4"}
)
"""The newest revision of each database; a test compares them with the migration files."""

PAGES: Mapping[str, int] = MappingProxyType({"telemetry": 16_384})
"""Bytes of a page where they are not SQLite's own choice.

A search that passes over a million records reads as many pages of an index from a disk that has
them not in memory: in 0.4 s with pages of 16 kB, in 1.4 s with pages of 4 kB.
"""

WAIT_SECONDS = 60
"""How long to wait for another process that migrates."""

_SCRIPTS = Path(__file__).parent / "migrations"


def migrate(paths: DataPaths) -> None:
    """Migrate what is not current, the databases being made where they are missing.

    The data directory must be there (`flm.paths.prepare`). Raises `StoreError` for a database
    that is damaged, locked, or was written by a newer FLM.
    """
    for name, path in (
        ("config", paths.config_db),
        ("security", paths.security_db),
        ("telemetry", paths.telemetry_db),
    ):
        pages = PAGES.get(name, PAGE_BYTES)
        with closing(Database(path, wait_seconds=WAIT_SECONDS, page_bytes=pages)) as database:
            with database.read() as connection:
                current = _version(connection)
            if current != HEADS[name]:
                with database.write() as connection:
                    _upgrade(connection, name, path)


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    row = connection.execute(text("SELECT version_num FROM alembic_version")).first()
    return None if row is None else str(row[0])


def _upgrade(connection: Connection, name: str, path: Path) -> None:
    from alembic.operations import Operations
    from alembic.runtime.migration import MigrationContext, MigrationStep
    from alembic.script import ScriptDirectory

    script = ScriptDirectory(str(_SCRIPTS), version_locations=[str(_SCRIPTS / name)])
    current = _version(connection)
    if current is not None and current not in {item.revision for item in script.walk_revisions()}:
        raise StoreError(
            N_("{path} was written by a newer version of FLM (its schema is {version})."),
            remedy=N_("Install that version of FLM again, or give another data directory."),
            path=path,
            version=current,
        )

    def steps(_heads: object, _context: MigrationContext) -> list[MigrationStep]:
        missing = reversed(list(script.iterate_revisions("head", current or "base")))
        return [MigrationStep.upgrade_from_script(script.revision_map, item) for item in missing]

    context = MigrationContext.configure(connection, opts={"script": script, "fn": steps})
    with Operations.context(context):
        context.run_migrations()
