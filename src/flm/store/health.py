"""The history of the engines' states, in telemetry.db."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, select

from flm.domain.engines import EngineId
from flm.ports.telemetry import HealthMark
from flm.store.database import Database, insert_or_ignore
from flm.store.tables import engine_health as table


class SqlHealth:
    """`HealthRepository` over telemetry.db."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, marks: Sequence[HealthMark]) -> None:
        """Append marks; one that is there already stays as it is."""
        rows = [
            (mark.engine, mark.time, mark.state, mark.latency_ms, mark.reason) for mark in marks
        ]
        if rows:
            with self._database.write() as connection:
                insert_or_ignore(connection, table, rows)

    def history(
        self, engine: EngineId | None = None, since: float | None = None, limit: int = 50
    ) -> list[HealthMark]:
        """Newest first."""
        query = select(table).order_by(table.c.time.desc(), table.c.engine).limit(limit)
        if engine is not None:
            query = query.where(table.c.engine == engine)
        if since is not None:
            query = query.where(table.c.time >= since)
        with self._database.read() as connection:
            return [
                HealthMark(
                    engine=EngineId(row.engine),
                    time=row.time,
                    state=row.state,
                    latency_ms=row.latency_ms,
                    reason=row.reason,
                )
                for row in connection.execute(query)
            ]

    def prune(self, before: float) -> int:
        """Remove marks older than `before` (UTC seconds); how many went."""
        with self._database.write() as connection:
            return connection.execute(delete(table).where(table.c.time < before)).rowcount
