"""What was used by hour and by day, in telemetry.db."""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Iterable, Iterator

import msgspec
from sqlalchemy import Connection, Table, bindparam, delete, func, literal_column, select
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.sqlite import insert

from flm.domain.records import RequestRecord
from flm.domain.usage import DAY, By, Group, Tally, by_day, tallied
from flm.ports.telemetry import Usage, UsageFilter
from flm.store.database import Database
from flm.store.tables import usage_days, usage_hours

MOST_MODELS = 500
"""Names of models in one hour, and in one day, that sums are told apart by.

A publication that answers for any name lets the holder of a key make names up.
"""

_SUMS = Tally.__struct_fields__


def add_usage(connection: Connection, records: Iterable[RequestRecord]) -> None:
    """Add records to the sums of their hours and days, in the transaction that stores them."""
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    hours = tallied(records)
    days = by_day(hours)
    for table, tallies in ((usage_hours, hours), (usage_days, days)):
        bounded = _bounded(driver, table, tallies)
        rows = [(*group, *msgspec.structs.astuple(tally)) for group, tally in bounded.items()]
        if rows:
            driver.executemany(_adding(table), rows)


def _bounded(
    driver: sqlite3.Connection, table: Table, tallies: dict[Group, Tally]
) -> dict[Group, Tally]:
    """The sums, those of models' names that are too many under ''. They are merged in place."""
    bounded: dict[Group, Tally] = {}
    named: dict[int, _Names] = {}
    for group, tally in tallies.items():
        names = named.get(group.time)
        if names is None:
            names = named[group.time] = _Names(driver, table, group.time)
        kept = group if names.hold(group.model) else group._replace(model="")
        there = bounded.setdefault(kept, tally)
        if there is not tally:
            there.add(tally)
    return bounded


class _Names:
    """The models of one hour or day. Counted only when there is a new one: that is rare."""

    def __init__(self, driver: sqlite3.Connection, table: Table, time: int) -> None:
        self._driver = driver
        self._table = table
        self._time = time
        self._held = {""}
        self._left: int | None = None

    def hold(self, model: str) -> bool:
        """Whether this name is kept: it is there already, or there is room for it."""
        if model in self._held:
            return True
        if not self._count(model):
            if self._left is None:
                self._left = MOST_MODELS - self._count(None)
            if self._left <= 0:
                return False
            self._left -= 1
        self._held.add(model)
        return True

    def _count(self, model: str | None) -> int:
        """How many of the names are `model`: 0 or 1; None counts them all."""
        values = (self._time,) if model is None else (self._time, model)
        query = _counting(self._table, one=model is not None)
        return int(self._driver.execute(query, values).fetchone()[0])


@functools.cache
def _counting(table: Table, *, one: bool) -> str:
    """The text of a SELECT that counts the models of a time; parameters: time(, model)."""
    name = table.c.model
    query = select(func.count(name.distinct())).where(table.c.time == bindparam("time"))
    query = query.where(name == bindparam("model") if one else name != literal_column("''"))
    return str(query.compile(dialect=sqlite.dialect()))


@functools.cache
def _adding(table: Table) -> str:
    """The text of an INSERT that adds to the sums that are there."""
    statement = insert(table)
    added = {name: table.c[name] + statement.excluded[name] for name in _SUMS}
    keys = [column.name for column in table.primary_key]
    made = statement.on_conflict_do_update(index_elements=keys, set_=added)
    return str(made.compile(dialect=sqlite.dialect()))


class SqlUsage:
    """`UsageRepository` over telemetry.db."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def sums(self, wanted: UsageFilter) -> Usage:
        """The sums of a span; see the port. One state of the database is read."""
        rows: dict[str | int, Tally] = {}
        with self._database.read() as connection:
            since, until = self._span(connection, wanted)
            for table, start, end in _pieces(wanted.by, since, until):
                for name, tally in _sums(connection, table, start, end, wanted):
                    rows.setdefault(name, Tally()).add(tally)
        return Usage(since=since, until=until, rows=rows)

    def _span(self, connection: Connection, wanted: UsageFilter) -> tuple[int | None, int | None]:
        """Whole hours, and whole days where no hours are kept any more."""
        since, until = wanted.since, wanted.until
        hour, day = (
            connection.execute(select(func.min(table.c.time))).scalar()
            for table in (usage_hours, usage_days)
        )
        if wanted.by == "hour" or hour is None or day is None or day >= (kept := hour // DAY * DAY):
            return since, until
        if since is not None and since < kept:
            since = since // DAY * DAY
        if until is not None and until < kept:
            until = -(-until // DAY) * DAY
        return since, until

    def prune(self, hours_before: float, days_before: float) -> int:
        """Remove what is older (UTC seconds), whole days at a time; how many sums went."""
        removed = 0
        for table, before in ((usage_hours, hours_before), (usage_days, days_before)):
            oldest = int(before) // DAY * DAY
            with self._database.read() as connection:
                query = select(table.c.time).where(table.c.time < oldest).limit(1)
                if connection.execute(query).first() is None:
                    continue
            with self._database.write() as connection:
                gone = connection.execute(delete(table).where(table.c.time < oldest))
                removed += gone.rowcount
        return removed


_Piece = tuple[Table, int | None, int | None]


def _pieces(by: By, since: int | None, until: int | None) -> Iterator[_Piece]:
    """Where the sums of a span lie: whole days in their own table, what is left over in hours."""
    if by == "hour":
        yield usage_hours, since, until
        return
    first = None if since is None else -(-since // DAY) * DAY
    last = None if until is None else until // DAY * DAY
    if first is not None and last is not None and first >= last:
        yield usage_hours, since, until
        return
    if since != first:
        yield usage_hours, since, first
    yield usage_days, first, last
    if until != last:
        yield usage_hours, last, until


def _sums(
    connection: Connection, table: Table, start: int | None, end: int | None, wanted: UsageFilter
) -> Iterator[tuple[str | int, Tally]]:
    """The sums of one table from `start` to before `end`."""
    column = table.c[_COLUMNS[wanted.by]]
    name = column // DAY * DAY if wanted.by == "day" else column
    query = select(name, *(func.sum(table.c[each]) for each in _SUMS)).group_by(name)
    if start is not None:
        query = query.where(table.c.time >= start)
    if end is not None:
        query = query.where(table.c.time < end)
    for field, value in (("key_id", wanted.key), ("model", wanted.model)):
        if value is not None:
            query = query.where(table.c[field] == value)
    for row in connection.execute(query):
        yield row[0], Tally(**dict(zip(_SUMS, row[1:], strict=True)))


_COLUMNS: dict[By, str] = {
    "key": "key_id",
    "model": "model",
    "engine": "engine",
    "api": "api",
    "day": "time",
    "hour": "time",
}
