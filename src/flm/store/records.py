"""Request records and the journal's checkpoints, in telemetry.db."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Row, and_, delete, func, or_, select

from flm.domain.records import RequestRecord
from flm.errors import N_, InvalidValue
from flm.ports.repositories import Checkpoint, RecordFilter
from flm.store.database import Database, insert_or_ignore, insert_or_update
from flm.store.tables import checkpoints
from flm.store.tables import records as table

BATCH = 5_000
"""Rows that one transaction of `prune` removes: it holds the write lock for well under 1 s."""

_STATUS = re.compile(r"([1-9])xx|([0-9]{3})(?:-([0-9]{3}))?")


class SqlRecords:
    """`RecordRepository` over telemetry.db."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def store(self, instance: str, records: Sequence[RequestRecord], upto: Checkpoint) -> int:
        """Insert-or-ignore by id and move the checkpoint in one transaction; how many were new."""
        mark = {"instance": instance, "segment": upto.segment, "position": upto.offset}
        with self._database.write() as connection:
            new = insert_or_ignore(connection, table, map(msgspec.structs.astuple, records))
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
        conditions: list[ColumnElement[bool]] = []
        if wanted.since is not None:
            conditions.append(table.c.time >= wanted.since)
        if wanted.model is not None:
            conditions.append(table.c.model == wanted.model)
        if wanted.key is not None:
            conditions.append(table.c.key_id == wanted.key)
        if wanted.status is not None:
            conditions.append(_status(wanted.status))
        query = (
            select(table)
            .where(*conditions)
            .order_by(table.c.time.desc(), table.c.id.desc())
            .limit(wanted.limit)
        )
        with self._database.read() as connection:
            return [_record(row) for row in connection.execute(query)]

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
    values = dict(row._mapping)
    values["streamed"] = bool(values["streamed"])
    values["estimated"] = bool(values["estimated"])
    return RequestRecord(**values)
