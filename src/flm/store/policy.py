"""The policy document, in security.db."""

from __future__ import annotations

import msgspec
from sqlalchemy import Connection, select

from flm.domain.policy import Policy
from flm.errors import N_, StoreError
from flm.store.database import Database, insert_or_update
from flm.store.tables import policy as policies


class SqlPolicy:
    """`PolicyRepository` over security.db."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self) -> Policy:
        """The policy; the default one was stored when the database was made."""
        with self._database.read() as connection:
            return self.read(connection)

    def read(self, connection: Connection) -> Policy:
        """The same inside a transaction that is open already.

        Raises `StoreError` for a document with keys or values this version does not know: a rule
        that is not understood must not be taken for no rule.
        """
        document = connection.execute(select(policies.c.document)).scalar_one_or_none()
        try:
            return Policy() if document is None else msgspec.json.decode(document, type=Policy)
        except msgspec.DecodeError as error:
            raise StoreError(
                N_("The policy in {path} cannot be read: {why}."),
                remedy=N_("Use the version of FLM that wrote it, or restore a backup."),
                path=self._database.path,
                why=str(error),
            ) from error

    def set(self, policy: Policy) -> None:
        """Replace the policy."""
        row = {"id": 1, "document": msgspec.json.encode(policy).decode()}
        with self._database.write() as connection:
            insert_or_update(connection, policies, row)
