"""Request records and the journal's checkpoints, in telemetry.db."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    Row,
    and_,
    delete,
    func,
    literal_column,
    or_,
    select,
)

from flm.domain.records import RequestRecord
from flm.errors import N_, InvalidValue
from flm.ports.telemetry import Arrived, Checkpoint, Place, RecordFilter
from flm.store.database import Database, insert_or_ignore, insert_or_update
from flm.store.tables import checkpoints
from flm.store.tables import records as table
from flm.store.usage import add_usage

BATCH = 5_000
"""Rows that one transaction of `prune` removes: it holds the write lock for well under 1 s."""

_STATUS = re.compile(r"([1-9])xx|([0-9]{3})(?:-([0-9]{3}))?")


class SqlRecords:
    """`RecordRepository` over telemetry.db."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def store(self, instance: str, records: Sequence[RequestRecord], upto: Checkpoint) -> int:
        """Insert-or-ignore by id and move the checkpoint in one transaction; how many were new.

        Those are counted in the sums of what was used, in the same transaction.
        """
        mark = {"instance": instance, "segment": upto.segment, "position": upto.offset}
        with self._database.write() as connection:
            before = _last(connection)
            new = insert_or_ignore(connection, table, map(msgspec.structs.astuple, records))
            if new == len(records):
                add_usage(connection, records)
            elif new:
                add_usage(connection, _stored_after(connection, before, records))
            insert_or_update(connection, checkpoints, mark)
            return new

    def checkpoint(self, instance: str) -> Checkpoint:
        """How far that instance's journal is stored; the start when nothing is."""
        query = select(checkpoints.c.segment, checkpoints.c.position).where(
            checkpoints.c.instance == instance
        )
        with self._database.read() as connection:
            row = connection.execute(query).first()
            return Checkpoint(0, 0) if row is None else Checkpoint(row.segment, row.position)

    def forget_instance(self, instance: str) -> None:
        """Forget the checkpoint of an instance whose journal is gone; its records stay."""
        with self._database.write() as connection:
            connection.execute(delete(checkpoints).where(checkpoints.c.instance == instance))

    def search(self, wanted: RecordFilter) -> list[RequestRecord]:
        """Newest first. Raises `InvalidValue` for a status that is none."""
        with self._database.read() as connection:
            return _newest(connection, wanted)

    def latest(self, wanted: RecordFilter) -> Arrived:
        """The newest records that match, oldest of them first, and the place to look on from."""
        with self._database.read() as connection:
            place = _place(connection, _last(connection))
            found = _newest(connection, wanted) if wanted.limit else []
        return Arrived(found[::-1], place)

    def after(self, place: Place, wanted: RecordFilter) -> Arrived:
        """What was stored after `place` and matches; see the port."""
        with self._database.read() as connection:
            last = _last(connection)
            start = place.number if place.number <= last else _moved(connection, place)
            if last == start:
                return Arrived([], place if start == place.number else _place(connection, start))
            query = (
                select(table, _row)
                .where(_row > start, _row <= last, *_conditions(wanted))
                .order_by(_row)
                .limit(wanted.limit)
            )
            rows = connection.execute(query).all()
            if len(rows) == wanted.limit:
                last = int(rows[-1]._mapping[_row])
            return Arrived([_record(row) for row in rows], _place(connection, last))

    def prune(self, before: float, keep: int) -> int:
        """Remove records older than `before`, and the oldest beyond `keep`; how many went.

        In transactions of `BATCH` rows, so that storing goes on between them.
        """
        removed = 0
        while gone := self._remove_oldest(BATCH, table.c.time < before):
            removed += gone
        with self._database.read() as connection:
            count = connection.execute(select(func.count()).select_from(table)).scalar_one()
        excess = count - keep
        while excess > 0 and (gone := self._remove_oldest(min(excess, BATCH))):
            excess -= gone
            removed += gone
        return removed

    def _remove_oldest(self, count: int, *conditions: ColumnElement[bool]) -> int:
        oldest = select(table.c.id).where(*conditions).order_by(table.c.time).limit(count)
        with self._database.read() as connection:
            if connection.execute(oldest.limit(1)).first() is None:
                return 0
        with self._database.write() as connection:
            return connection.execute(delete(table).where(table.c.id.in_(oldest))).rowcount


# SQLite numbers rows in the order in which they are stored.
_row: ColumnElement[int] = literal_column("records.rowid", Integer)


def _last(connection: Connection) -> int:
    """The number of the record that was stored last, 0 of none."""
    return connection.execute(select(func.max(_row)).select_from(table)).scalar() or 0


def _place(connection: Connection, number: int) -> Place:
    found = connection.execute(select(table.c.id).where(_row == number)).scalar()
    return Place(number, found or "")


def _moved(connection: Connection, place: Place) -> int:
    """Where `place` is when rows were numbered anew: by VACUUM, or after all of them went."""
    return connection.execute(select(_row).where(table.c.id == place.id)).scalar() or 0


def _stored_after(
    connection: Connection, before: int, records: Sequence[RequestRecord]
) -> list[RequestRecord]:
    """Those of `records` that were new, each once: some were stored before, or are there twice."""
    query = select(table.c.id).where(_row > before)
    new = set(connection.execute(query).scalars())
    first: dict[str, RequestRecord] = {}
    for record in records:
        if record.id in new:
            first.setdefault(record.id, record)
    return list(first.values())


def _newest(connection: Connection, wanted: RecordFilter) -> list[RequestRecord]:
    query = (
        select(table)
        .where(*_conditions(wanted))
        .order_by(table.c.time.desc(), _row.desc())
        .limit(wanted.limit)
    )
    return [_record(row) for row in connection.execute(query)]


def _conditions(wanted: RecordFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.since is not None:
        conditions.append(table.c.time >= wanted.since)
    if wanted.status is not None:
        conditions.append(_status(wanted.status))
    for column, value in (
        (table.c.model, wanted.model),
        (table.c.key_id, wanted.key),
        (table.c.engine, wanted.engine),
        (table.c.api, wanted.api),
    ):
        if value is not None:
            conditions.append(column == value)
    return conditions


def _status(text: str) -> ColumnElement[bool]:
    """The condition for '404', '4xx', '400-499', 'ok' or 'error'."""
    if text == "ok":
        return and_(table.c.status < 400, table.c.error == "")
    if text == "error":
        return or_(table.c.status >= 400, table.c.error != "")
    match = _STATUS.fullmatch(text)
    if match is None:
        raise InvalidValue(
            N_("{text!r} is no status to look for."),
            remedy=N_(
                "Use one such as 404, a class such as 4xx, a range such as 400-499, ok or error."
            ),
            text=text,
        )
    hundreds, first, last = match.groups()
    if hundreds:
        return table.c.status.between(int(hundreds) * 100, int(hundreds) * 100 + 99)
    if last is None:
        return table.c.status == int(first)
    return table.c.status.between(int(first), int(last))


def _record(row: Row[Any]) -> RequestRecord:
    values = {name: row._mapping[name] for name in RequestRecord.__struct_fields__}
    values["streamed"] = bool(values["streamed"])
    values["estimated"] = bool(values["estimated"])
    return RequestRecord(**values)
