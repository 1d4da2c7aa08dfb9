"""Settings the user changed, in config.db."""

from __future__ import annotations

from sqlalchemy import Connection, delete, select

from flm.store.database import Database, insert_or_update
from flm.store.tables import settings


class SqlSettings:
    """`SettingsRepository` over config.db."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> dict[str, str]:
        """JSON text by name."""
        with self._database.read() as connection:
            return self.read(connection)

    def read(self, connection: Connection) -> dict[str, str]:
        """The same inside a transaction that is open already."""
        rows = connection.execute(select(settings.c.name, settings.c.value))
        return {row.name: row.value for row in rows}

    def set(self, name: str, value: str | None) -> None:
        """Store a value; None forgets it, so that the default holds again."""
        with self._database.write() as connection:
            if value is None:
                connection.execute(delete(settings).where(settings.c.name == name))
            else:
                insert_or_update(connection, settings, {"name": name, "value": value})
