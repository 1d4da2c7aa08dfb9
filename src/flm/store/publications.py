"""Publications, in config.db."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Connection, Row, delete, select, update

from flm.domain.publications import Publication
from flm.errors import N_, Conflict
from flm.store.database import Database, insert_new
from flm.store.tables import publications

_encode = msgspec.json.encode
_names = msgspec.json.Decoder(tuple[str, ...]).decode
_values = msgspec.json.Decoder(dict[str, str]).decode


class SqlPublications:
    """`PublicationRepository` over config.db."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> list[Publication]:
        """The publications by name."""
        with self._database.read() as connection:
            return self.read(connection)

    def read(self, connection: Connection) -> list[Publication]:
        """The same inside a transaction that is open already."""
        rows = connection.execute(select(publications).order_by(publications.c.name))
        return [_publication(row) for row in rows]

    def get(self, name: str) -> Publication | None:
        """One of them, None when there is none of that name."""
        with self._database.read() as connection:
            found = select(publications).where(publications.c.name == name)
            row = connection.execute(found).first()
            return None if row is None else _publication(row)

    def add(self, publication: Publication) -> None:
        """Raises `Conflict` when the name is taken."""
        taken = Conflict(
            N_("There is an API called {name} already."),
            remedy=N_("Change it with `flm api update`, or choose another name."),
            name=publication.name,
        )
        with self._database.write() as connection:
            insert_new(connection, publications, tuple(_row(publication).values()), taken)

    def replace(self, publication: Publication) -> bool:
        """Put it in place of the one of its name; False when there is none."""
        with self._database.write() as connection:
            mine = publications.c.name == publication.name
            done = connection.execute(update(publications).where(mine).values(**_row(publication)))
            return done.rowcount == 1

    def remove(self, name: str) -> bool:
        """Forget one; False when there is none of that name."""
        if self.get(name) is None:
            return False
        with self._database.write() as connection:
            gone = connection.execute(delete(publications).where(publications.c.name == name))
            return gone.rowcount == 1


def _row(publication: Publication) -> dict[str, Any]:
    """The columns in the table's order."""
    return {
        "name": publication.name,
        "models": _encode(publication.models).decode(),
        "allow_remote": int(publication.allow_remote),
        "keys": _encode(publication.keys).decode(),
        "template": publication.template,
        "profile": publication.profile,
        "variables": _encode(publication.variables).decode(),
        "created_at": publication.created_at,
    }


def _publication(row: Row[Any]) -> Publication:
    return Publication(
        name=row.name,
        models=_names(row.models),
        allow_remote=bool(row.allow_remote),
        keys=_names(row._mapping["keys"]),
        template=row.template,
        profile=row.profile,
        variables=_values(row.variables),
        created_at=row.created_at,
    )
