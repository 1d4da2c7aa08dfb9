"""One SQLite database: its connections, its transactions, its errors.

Everything that is SQLite's own stands here, so that another dialect can come beside it. Threads
may share a `Database`: each transaction takes a connection of its own from the pool.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Connection, Table, create_engine, event, select, update
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.engine import URL, Engine
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry

from flm.errors import N_, Conflict, StoreError
from flm.paths import make_private

BUSY_SECONDS = 5
PAGE_BYTES = 4_096
Durability = Literal["FULL", "NORMAL"]
"""FULL survives a power cut; NORMAL may lose the last transactions to one, never to a kill."""

ROWS = 16
"""Rows of one INSERT: to begin and end one costs about a quarter of what a row does."""

_ATTEMPTS = 100

# Whatever is not exactly an int, a float or a str, sqlite3 looks for how to adapt before it binds
# it as it is: two exceptions for each None and each bool, a sixth of what it takes to store a
# record. Told what they become, it does not look.
sqlite3.register_adapter(bool, int)
sqlite3.register_adapter(type(None), lambda nothing: nothing)


class Database:
    """The database in the file `path`, made with mode 0600 when it is missing.

    ``revision`` is the table whose one row every `write` moves, if there is one;
    ``wait_seconds`` is how long a transaction waits for the lock of another; ``page_bytes`` the
    size of the pages of a database that is made. No connection is made before the first
    transaction. Every failure is a `StoreError` that names the file.
    """

    def __init__(
        self,
        path: Path,
        *,
        revision: Table | None = None,
        durability: Durability = "FULL",
        wait_seconds: int = BUSY_SECONDS,
        page_bytes: int = PAGE_BYTES,
    ) -> None:
        self.path = path
        self._wait_seconds = wait_seconds
        self._revision = revision
        self._durability = durability
        self._page_bytes = page_bytes
        with self._errors():
            make_private(path)
        # Bound as a plain value, never as a URL's text: a path may hold '?' and '%'.
        self._engine = create_engine(
            URL.create("sqlite", database=str(path)),
            connect_args={"timeout": wait_seconds},
            pool_size=2,
            max_overflow=30,
        )
        event.listen(self._engine, "connect", self._connected)
        event.listen(self._engine, "begin", _begin)
        self._writer: Engine = self._engine.execution_options(immediate=True)

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one state of the database from its first query on."""
        with self._errors(), self._engine.begin() as connection:
            yield connection

    @contextlib.contextmanager
    def write(self, *, bump: bool = True) -> Iterator[Connection]:
        """A transaction that holds the write lock from its start; rolled back by an exception.

        Moves the revision as its first statement, unless `bump` is False.
        """
        with self._errors(), self._writer.begin() as connection:
            if bump and self._revision is not None:
                number = self._revision.c.number
                connection.execute(update(self._revision).values(number=number + 1))
            yield connection

    def revision(self, connection: Connection) -> int:
        """The revision as this transaction sees it."""
        assert self._revision is not None
        return int(connection.execute(select(self._revision.c.number)).scalar_one())

    def close(self) -> None:
        """Close the pooled connections; the last one to leave cleans up the WAL."""
        self._engine.dispose()

    def _connected(self, connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        # None: sqlite3 begins no transaction of its own; `_begin` does.
        connection.isolation_level = None
        cursor = connection.cursor()
        try:
            cursor.execute(f"PRAGMA page_size = {self._page_bytes}")  # of an empty file only
            _enter_wal(cursor)
            cursor.execute("PRAGMA foreign_keys = ON")
            cursor.execute(f"PRAGMA synchronous = {self._durability}")
        finally:
            cursor.close()

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise store_error(self.path, error.orig or error, self._wait_seconds) from error
        except (sqlite3.Error, OSError) as error:
            raise store_error(self.path, error, self._wait_seconds) from error


def _enter_wal(cursor: Any) -> None:
    """Switch to WAL unless the file is in it already.

    SQLite does not wait for locks while it switches, so that processes that make a database
    together would fail. Taking the write lock does wait: whoever fails does that and tries again.
    """
    for attempt in range(_ATTEMPTS):
        try:
            if cursor.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                cursor.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if _code(error) != sqlite3.SQLITE_BUSY or attempt == _ATTEMPTS - 1:
                raise
            cursor.execute("BEGIN IMMEDIATE")
            cursor.execute("ROLLBACK")


def _begin(connection: Connection) -> None:
    immediate = connection.get_execution_options().get("immediate", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def insert_or_ignore(connection: Connection, table: Table, rows: Iterable[tuple[Any, ...]]) -> int:
    """Insert the rows whose primary key is new; how many were.

    A row has the values of all columns in the table's order. They go to the driver as they are:
    to turn each into named parameters costs as much as SQLite does.
    """
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    new = 0
    left = iter(rows)
    while some := list(itertools.islice(left, ROWS)):
        values = list(itertools.chain.from_iterable(some))
        new += driver.execute(_inserting(table, len(some)), values).rowcount
    return new


@functools.cache
def _inserting(table: Table, rows: int) -> str:
    """The text of an INSERT of so many rows."""
    values = [dict.fromkeys(table.columns.keys())] * rows
    statement = sqlite_insert(table).values(values).on_conflict_do_nothing()
    return str(statement.compile(dialect=sqlite.dialect()))


def insert_or_update(connection: Connection, table: Table, row: dict[str, Any]) -> None:
    """Insert `row`, or give the row of the same primary key its values."""
    keys = [column.name for column in table.primary_key]
    rest = {name: value for name, value in row.items() if name not in keys}
    connection.execute(
        sqlite_insert(table).values(**row).on_conflict_do_update(index_elements=keys, set_=rest)
    )


def insert_new(connection: Connection, table: Table, row: tuple[Any, ...], taken: Conflict) -> None:
    """Insert `row`; raises `taken` when its primary key is there already."""
    if insert_or_ignore(connection, table, [row]) == 0:
        raise taken


def store_error(path: Path, error: BaseException, waited: int) -> StoreError:
    """What `error` means for the database in `path`, and what to do about it."""
    code = _code(error)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreError(
            N_("{path} is locked by another program for more than {seconds} seconds."),
            remedy=N_("Close the program that has it open, then try again."),
            path=path,
            seconds=waited,
        )
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return StoreError(
            N_("{path} is damaged: {why}."),
            remedy=N_(
                "Stop FLM, put the file back from a backup or move it away, and start again."
            ),
            path=path,
            why=str(error),
        )
    why = error.strerror if isinstance(error, OSError) else None
    return StoreError(
        N_("{path} cannot be read or written: {why}."),
        remedy=N_("Look at the free space and at who may write the data directory."),
        path=path,
        why=why or str(error),
    )


def _code(error: BaseException) -> int:
    """SQLite's primary result code, 0 for anything else."""
    extended = getattr(error, "sqlite_errorcode", 0)
    return int(extended or 0) & 0xFF
