"""Model profiles, in config.db."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Connection, Row, delete, select

from flm.domain.publications import Profile
from flm.store.database import Database, insert_or_update
from flm.store.tables import model_profiles

_encode = msgspec.json.encode
_values = msgspec.json.Decoder(dict[str, Any]).decode


class SqlProfiles:
    """`ProfileRepository` over config.db."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> list[Profile]:
        """The profiles by name."""
        with self._database.read() as connection:
            return self.read(connection)

    def read(self, connection: Connection) -> list[Profile]:
        """The same inside a transaction that is open already."""
        rows = connection.execute(select(model_profiles).order_by(model_profiles.c.name))
        return [_profile(row) for row in rows]

    def save(self, profile: Profile) -> None:
        """Add it, or put it in place of the one of its name."""
        row = {
            "name": profile.name,
            "defaults": _encode(profile.defaults).decode(),
            "caps": _encode(profile.caps).decode(),
            "options": _encode(profile.options).decode(),
        }
        with self._database.write() as connection:
            insert_or_update(connection, model_profiles, row)

    def remove(self, name: str) -> bool:
        """Forget one; False when there is none of that name."""
        if not any(known.name == name for known in self.all()):
            return False
        with self._database.write() as connection:
            gone = connection.execute(delete(model_profiles).where(model_profiles.c.name == name))
            return gone.rowcount == 1


def _profile(row: Row[Any]) -> Profile:
    return Profile(
        name=row.name,
        defaults=_values(row.defaults),
        caps=_values(row.caps),
        options=_values(row.options),
    )
