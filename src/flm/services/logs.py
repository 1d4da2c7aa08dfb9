"""The request log: what was served."""

from __future__ import annotations

import re

from flm.domain.records import RequestRecord
from flm.errors import N_, InvalidValue
from flm.ports.clock import Clock
from flm.ports.repositories import RecordFilter, RecordRepository
from flm.services.times import moment, span

MAX_LIMIT = 100_000

_STATUS = re.compile(r"[1-5]xx|[1-5][0-9]{2}|([1-5][0-9]{2})-([1-5][0-9]{2})", re.ASCII)


class LogService:
    """Searches the records."""

    def __init__(self, records: RecordRepository, clock: Clock) -> None:
        self._records = records
        self._clock = clock

    def search(
        self,
        limit: int = 50,
        since: str | None = None,
        status: str | None = None,
        model: str | None = None,
        key: str | None = None,
    ) -> list[RequestRecord]:
        """The newest records, newest first, that match everything given.

        ``since`` and ``status`` are read by `parse_since` and `parse_status`; ``model`` is the
        name the client asked for, ``key`` a key's id. Raises `InvalidValue`.
        """
        if not 1 <= limit <= MAX_LIMIT:
            raise InvalidValue(
                N_("The limit must be a whole number from 1 to {maximum}, not {limit}."),
                maximum=MAX_LIMIT,
                limit=limit,
            )
        return self._records.search(
            RecordFilter(
                limit=limit,
                since=None if since is None else parse_since(since, self._clock.now()),
                status=None if status is None else parse_status(status),
                model=model,
                key=key,
            )
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
