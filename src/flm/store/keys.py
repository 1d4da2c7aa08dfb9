"""API keys, in security.db."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Connection, Row, or_, select, update

from flm.domain.addresses import overlap
from flm.domain.keys import ApiKey, KeyId
from flm.errors import N_, Conflict
from flm.store.database import Database, insert_new
from flm.store.tables import api_keys


class SqlKeys:
    """`KeyRepository` over security.db."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> list[ApiKey]:
        """Every key that was ever made, oldest first."""
        with self._database.read() as connection:
            return self.read(connection)

    def read(self, connection: Connection) -> list[ApiKey]:
        """The same inside a transaction that is open already."""
        rows = connection.execute(select(api_keys).order_by("created_at", "id"))
        return [_key(row) for row in rows]

    def get(self, key: KeyId) -> ApiKey | None:
        """One key, None when there is none of that id."""
        with self._database.read() as connection:
            row = connection.execute(select(api_keys).where(api_keys.c.id == key)).first()
            return None if row is None else _key(row)

    def add(self, key: ApiKey) -> None:
        """Raises `Conflict` when the id is taken, or its address is another key's."""
        with self._database.write() as connection:
            self._check_address(connection, key)
            _insert(connection, key)

    def update(self, key: ApiKey) -> bool:
        """Keep the label, the expiry and the address of `key`; False when there is none of its id.

        Raises `Conflict` when its address is another key's: of two at once one wins.
        """
        with self._database.write() as connection:
            self._check_address(connection, key)
            done = connection.execute(
                update(api_keys)
                .where(api_keys.c.id == key.id)
                .values(label=key.label, expires_at=key.expires_at, keyless_from=key.keyless_from)
            )
            return done.rowcount == 1

    def _check_address(self, connection: Connection, key: ApiKey) -> None:
        if not key.keyless_from:
            return
        held = select(api_keys).where(api_keys.c.keyless_from != "", api_keys.c.id != key.id)
        for row in connection.execute(held):
            if overlap(row.keyless_from, key.keyless_from):
                raise Conflict(
                    N_("Requests from {address} count as those of the key {key} ({label})."),
                    remedy=N_(
                        "Take it from that key with `flm api-keys update {key} --keyless-from "
                        "none`, or give another address."
                    ),
                    address=row.keyless_from,
                    key=row.id,
                    label=row.label,
                )

    def revoke(self, key: KeyId, at: float) -> bool:
        """Revoke from `at` on; False when there is no such key or it was revoked before.

        A key that a rotation lets run on for a while is revoked `at` already. Its address is free
        then.
        """
        known = self.get(key)
        if known is None or (known.revoked_at is not None and known.revoked_at <= at):
            return False
        with self._database.write() as connection:
            still = or_(api_keys.c.revoked_at.is_(None), api_keys.c.revoked_at > at)
            done = connection.execute(
                update(api_keys)
                .where(api_keys.c.id == key, still)
                .values(revoked_at=at, keyless_from="")
            )
            return done.rowcount == 1

    def rotate(self, old: KeyId, new: ApiKey, at: float) -> None:
        """Add `new`, and revoke `old` from `at` on; its address is the new one's at once.

        Raises `Conflict`, and adds nothing, when `old` is not there or was revoked or rotated
        before: of two rotations at once one wins.
        """
        with self._database.write() as connection:
            _insert(connection, new)
            done = connection.execute(
                update(api_keys)
                .where(api_keys.c.id == old, api_keys.c.revoked_at.is_(None))
                .values(revoked_at=at, rotated_to=new.id, keyless_from="")
            )
            if done.rowcount != 1:
                raise Conflict(
                    N_("The key {key} was revoked or rotated meanwhile."),
                    remedy=N_("`flm api-keys show {key}` says what became of it."),
                    key=old,
                )


def _insert(connection: Connection, key: ApiKey) -> None:
    taken = Conflict(N_("There is a key with the id {key} already."), key=key.id)
    insert_new(connection, api_keys, msgspec.structs.astuple(key), taken)


def _key(row: Row[Any]) -> ApiKey:
    return ApiKey(
        id=KeyId(row.id),
        label=row.label,
        digest=row.digest,
        last4=row.last4,
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        rotated_to=None if row.rotated_to is None else KeyId(row.rotated_to),
        instance=row.instance,
        keyless_from=row.keyless_from,
    )
