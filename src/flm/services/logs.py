"""The request log: what was served."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from typing import TypedDict, Unpack

from flm.domain.records import RequestRecord
from flm.errors import N_, InvalidValue
from flm.ports.clock import Clock
from flm.ports.telemetry import RecordFilter, RecordRepository
from flm.services.times import moment, span

MAX_LIMIT = 100_000

_STATUS = re.compile(r"[1-5]xx|[1-5][0-9]{2}|([1-5][0-9]{2})-([1-5][0-9]{2})", re.ASCII)


FOLLOW_SECONDS = 0.5
PORTION = 1_000
"""Records of one look at what is new."""


class Wanted(TypedDict, total=False):
    """What a person asks of the log; None is not asked.

    ``since`` and ``status`` are read by `parse_since` and `parse_status`; ``model`` is the name
    the client asked for, ``key`` a key's id, ``api`` a publication's name.
    """

    since: str | None
    status: str | None
    model: str | None
    key: str | None
    engine: str | None
    api: str | None


def pause(seconds: float) -> None:
    """Let so many seconds pass; Ctrl-C ends it."""
    threading.Event().wait(seconds)


class LogService:
    """Searches the records, and follows them. ``wait`` lets so many seconds pass."""

    def __init__(
        self, records: RecordRepository, clock: Clock, wait: Callable[[float], None] = pause
    ) -> None:
        self._records = records
        self._clock = clock
        self._wait = wait

    def search(self, limit: int = 50, **wanted: Unpack[Wanted]) -> list[RequestRecord]:
        """The newest records, newest first, that match everything. Raises `InvalidValue`."""
        return self._records.search(self._filter(_checked(limit, 1), **wanted))

    def follow(self, limit: int = 10, **wanted: Unpack[Wanted]) -> Iterator[list[RequestRecord]]:
        """The newest `limit` records that match, oldest first, then each as it is stored.

        Nothing is left out and nothing told twice, however late a record comes. Never ends.
        Raises `InvalidValue`.
        """
        arrived = self._records.latest(self._filter(_checked(limit, 0), **wanted))
        portion = self._filter(PORTION, **wanted)
        yield arrived.records
        while True:
            arrived = self._records.after(arrived.place, portion)
            if arrived.records:
                yield arrived.records
            if len(arrived.records) < PORTION:
                self._wait(FOLLOW_SECONDS)

    def _filter(self, limit: int, **wanted: Unpack[Wanted]) -> RecordFilter:
        since, status = wanted.get("since"), wanted.get("status")
        return RecordFilter(
            limit=limit,
            since=None if since is None else parse_since(since, self._clock.now()),
            status=None if status is None else parse_status(status),
            model=wanted.get("model"),
            key=wanted.get("key"),
            engine=wanted.get("engine"),
            api=wanted.get("api"),
        )


def _checked(limit: int, minimum: int) -> int:
    if minimum <= limit <= MAX_LIMIT:
        return limit
    raise InvalidValue(
        N_("The limit must be a whole number from {minimum} to {maximum}, not {limit}."),
        minimum=minimum,
        maximum=MAX_LIMIT,
        limit=limit,
    )


def parse_since(text: str, now: float) -> float:
    """UTC seconds from which on records are shown: `15m`, `2h`, `3d` ago, a date or date-time."""
    seconds = span(text)
    at = moment(text) if seconds is None else now - seconds
    if at is None:
        raise InvalidValue(
            N_("{text!r} is no moment to look from."),
            remedy=N_("Give a span such as 15m, 2h or 3d, or a date such as 2026-01-31T18:00."),
            text=text,
        )
    return at


def parse_status(text: str) -> str:
    """`404`, `4xx`, `400-499`, `ok` or `error` in the form that `RecordFilter` takes."""
    status = text.strip().lower().replace(" ", "")
    match = _STATUS.fullmatch(status)
    if status in ("ok", "error") or (
        match is not None and (match[1] is None or int(match[1]) <= int(match[2]))
    ):
        return status
    raise InvalidValue(
        N_("{text!r} is no status to look for."),
        remedy=N_("Use 404, 4xx, 400-499, ok or error."),
        text=text,
    )
