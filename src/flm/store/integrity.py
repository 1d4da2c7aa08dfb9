"""Looks at the databases without changing anything: for `flm check`. `Inspection` over SQLite.

Not through `Database`, which makes what is missing and switches to WAL. A database that nobody
has open is read as it lies there, without the files that SQLite keeps beside one in use.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from flm.domain.engines import Address, EngineDefinition, EngineId, KnownEngine
from flm.domain.keys import ApiKey, KeyId
from flm.paths import DataPaths
from flm.ports.integrity import DatabaseState, Stored
from flm.ports.telemetry import Checkpoint
from flm.store.migrate import HEADS

BUSY_SECONDS = 2.0
MOST_DAMAGE = 5

_Thing = TypeVar("_Thing")


class Inspector:
    """The databases of one data directory. ``live``: whether a controller has them open."""

    def __init__(self, paths: DataPaths, *, live: bool) -> None:
        self._live = live
        self._paths = {
            "config": paths.config_db,
            "security": paths.security_db,
            "telemetry": paths.telemetry_db,
        }

    def databases(self) -> list[DatabaseState]:
        """How each of them is."""
        return [self._state(name, path) for name, path in self._paths.items()]

    def _state(self, name: str, path: Path) -> DatabaseState:
        expected = HEADS[name]
        if not path.exists():
            return DatabaseState(path=str(path), there=False, expected=expected)
        try:
            with self._open(path) as connection:
                damage = [
                    str(line)
                    for (line,) in connection.execute(f"PRAGMA quick_check({MOST_DAMAGE})")
                    if line != "ok"
                ]
                schema = _schema(connection)
                return DatabaseState(
                    path=str(path),
                    damage=tuple(damage),
                    schema=schema,
                    expected=expected,
                    newer=_number(schema) > _number(expected),
                    revision_kept=name == "telemetry" or not schema or _has_revision(connection),
                )
        except (sqlite3.Error, OSError) as error:
            return DatabaseState(path=str(path), error=str(error), expected=expected)

    def stored(self) -> Stored:
        """What can be read of what is stored."""
        return Stored(
            keys=self._rows("security", "SELECT * FROM api_keys", _key),
            added=self._rows("config", "SELECT * FROM engines", _definition),
            known=self._rows("config", "SELECT * FROM known_engines", _known),
            checkpoints=dict(self._rows("telemetry", "SELECT * FROM checkpoints", _checkpoint)),
        )

    def _rows(
        self, name: str, query: str, made: Callable[[dict[str, Any]], _Thing]
    ) -> list[_Thing]:
        path = self._paths[name]
        if not path.exists():
            return []
        try:
            with self._open(path) as connection:
                connection.row_factory = sqlite3.Row
                return [made(dict(row)) for row in connection.execute(query)]
        except (sqlite3.Error, OSError, KeyError):
            return []  # `databases` says why

    @contextlib.contextmanager
    def _open(self, path: Path) -> Iterator[sqlite3.Connection]:
        wal = path.with_name(f"{path.name}-wal")
        closed = not self._live and not (wal.exists() and wal.stat().st_size)
        uri = f"{path.absolute().as_uri()}?mode=ro{'&immutable=1' if closed else ''}"
        connection = sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS)
        with contextlib.closing(connection):
            yield connection


def _schema(connection: sqlite3.Connection) -> str:
    """The migration it is at, '' of a database that has not even begun with the first."""
    try:
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.OperationalError:
        return ""
    return "" if row is None else str(row[0])


def _number(schema: str) -> int:
    """`config_2` is 2."""
    found = re.search(r"_(\d{1,9})$", schema)
    return 0 if found is None else int(found[1])


def _has_revision(connection: sqlite3.Connection) -> bool:
    try:
        return len(connection.execute("SELECT number FROM revision").fetchall()) == 1
    except sqlite3.OperationalError:
        return False


def _key(row: dict[str, Any]) -> ApiKey:
    return ApiKey(
        id=KeyId(row["id"]),
        label=row["label"],
        digest=row["digest"],
        last4=row["last4"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
        instance=row.get("instance", ""),
        keyless_from=row.get("keyless_from", ""),
    )


def _definition(row: dict[str, Any]) -> EngineDefinition:
    return EngineDefinition(
        id=EngineId(row["id"]),
        kind=row["kind"],
        address=Address(
            row["host"],
            row["port"],
            row["prefix"],
            bool(row.get("tls", 0)),
            row.get("ca_file", ""),
        ),
        sealed_key=row["sealed_key"],
    )


def _known(row: dict[str, Any]) -> KnownEngine:
    return KnownEngine(
        id=EngineId(row["id"]),
        kind=row["kind"],
        address=Address(row["host"], row["port"], row["prefix"]),
        sealed_key=row["sealed_key"],
    )


def _checkpoint(row: dict[str, Any]) -> tuple[str, Checkpoint]:
    return row["instance"], Checkpoint(row["segment"], row["position"])
