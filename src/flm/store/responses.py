"""Responses with stored state, in telemetry.db. What they say is sealed before it comes here."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import Connection, Select, delete, func, select, update

from flm.ports.telemetry import ResponseTotals, StoredResponse
from flm.store.database import Database, insert_or_ignore
from flm.store.tables import responses as table

MAX_CHAIN = 500
BATCH = 200
"""Responses that one transaction removes: they may hold pictures."""


class SqlResponses:
    """`ResponseRepository` over telemetry.db."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def keep(self, responses: Sequence[StoredResponse]) -> list[bool]:
        """Insert each, and let its chain live as long; False for one whose id is taken."""
        with self._database.write() as connection:
            return [self._keep(connection, response) for response in responses]

    def _keep(self, connection: Connection, response: StoredResponse) -> bool:
        row = (
            response.id,
            response.key_id,
            response.model,
            response.previous,
            response.created_at,
            response.expires_at,
            len(response.sealed),
            response.sealed,
        )
        if not insert_or_ignore(connection, table, [row]):
            return False
        before, found = table.c.previous, [response.previous]
        while found[-1] and len(found) <= MAX_CHAIN:
            previous = connection.execute(select(before).where(table.c.id == found[-1])).scalar()
            if previous is None or previous in found:
                break
            found.append(previous)
        if found[0]:
            connection.execute(
                update(table)
                .where(table.c.id.in_(found), table.c.expires_at < response.expires_at)
                .values(expires_at=response.expires_at)
            )
        return True

    def chain(
        self, response: str, keys: Collection[str], now: float, depth: int
    ) -> list[StoredResponse]:
        """Newest first; ends where one is missing or has expired, or after `depth`."""
        found: list[StoredResponse] = []
        wanted = response
        with self._database.read() as connection:
            while wanted and len(found) < depth:
                query = select(table).where(
                    table.c.id == wanted, table.c.key_id.in_(keys), table.c.expires_at > now
                )
                row = connection.execute(query).first()
                if row is None:
                    break
                values = dict(row._mapping)
                del values["size"]
                found.append(StoredResponse(**values))
                wanted = row.previous
        return found

    def forget(self, response: str, keys: Collection[str]) -> bool:
        """Remove one; False when there is none of that id and these keys."""
        gone = delete(table).where(table.c.id == response, table.c.key_id.in_(keys))
        with self._database.write() as connection:
            return connection.execute(gone).rowcount > 0

    def keys(self) -> set[str]:
        """The keys that have responses here."""
        with self._database.read() as connection:
            return set(connection.execute(select(table.c.key_id).distinct()).scalars())

    def forget_keys(self, keys: Collection[str]) -> int:
        """Remove all responses of these keys; how many went."""
        removed = 0
        for key in keys:
            while gone := self._remove(
                select(table.c.id).where(table.c.key_id == key).limit(BATCH)
            ):
                removed += gone
        return removed

    def prune(self, now: float, keep: int, size: int) -> int:
        """Remove what has expired, then what ends first beyond `keep` or `size`; how many went.

        In transactions of at most `BATCH`, so that others come between them.
        """
        removed = 0
        expired = select(table.c.id).where(table.c.expires_at <= now).limit(BATCH)
        while gone := self._remove(expired):
            removed += gone
        while True:
            totals = self.totals()
            excess = totals.count - keep
            if totals.size > size:
                excess = max(excess, self._first_of(totals.size - size))
            if excess <= 0:
                return removed
            soonest = select(table.c.id).order_by(table.c.expires_at, table.c.size)
            removed += self._remove(soonest.limit(min(excess, BATCH)))

    def _first_of(self, size: int) -> int:
        """How many of those that end first, at most `BATCH`, hold so many bytes together."""
        query = select(table.c.size).order_by(table.c.expires_at, table.c.size).limit(BATCH)
        with self._database.read() as connection:
            sizes = list(connection.execute(query).scalars())
        for count, one in enumerate(sizes, 1):
            size -= one
            if size <= 0:
                return count
        return len(sizes)

    def _remove(self, some: Select[tuple[str]]) -> int:
        with self._database.write() as connection:
            return connection.execute(delete(table).where(table.c.id.in_(some))).rowcount

    def totals(self) -> ResponseTotals:
        """How much is kept; reads an index alone."""
        query = select(func.count(), func.coalesce(func.sum(table.c.size), 0))
        with self._database.read() as connection:
            count, size = connection.execute(query).one()
            return ResponseTotals(count, size)
