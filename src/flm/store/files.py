"""GGUF files given to the embedded engine, in config.db."""

from __future__ import annotations

from sqlalchemy import Connection, delete, select

from flm.domain.models import GgufFile
from flm.errors import N_, Conflict
from flm.store.database import Database, insert_new
from flm.store.tables import gguf_files


class SqlFiles:
    """`GgufRepository` over config.db."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> list[GgufFile]:
        """The files by name."""
        with self._database.read() as connection:
            return self.read(connection)

    def read(self, connection: Connection) -> list[GgufFile]:
        """The same inside a transaction that is open already."""
        rows = connection.execute(select(gguf_files).order_by(gguf_files.c.name))
        return [
            GgufFile(name=row.name, path=row.path, added_at=row.added_at, demo=bool(row.demo))
            for row in rows
        ]

    def add(self, file: GgufFile) -> None:
        """Raises `Conflict` when the name is taken."""
        row = (file.name, file.path, file.added_at, int(file.demo))
        taken = Conflict(
            N_("There is a model called {name} already."),
            remedy=N_("Give this one another name with --name, or run `flm models remove {name}`."),
            name=file.name,
        )
        with self._database.write() as connection:
            insert_new(connection, gguf_files, row, taken)

    def remove(self, name: str) -> bool:
        """Forget a file; the file itself stays. False when there is none of that name."""
        if not any(known.name == name for known in self.all()):
            return False
        with self._database.write() as connection:
            gone = connection.execute(delete(gguf_files).where(gguf_files.c.name == name))
            return gone.rowcount == 1
