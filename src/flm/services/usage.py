"""What was used: by whom, of what, and how fast it was."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from flm.domain.usage import DAY, HOUR, By, Tally
from flm.errors import N_, InvalidValue
from flm.ports.clock import Clock
from flm.ports.repositories import KeyRepository
from flm.ports.telemetry import UsageFilter, UsageRepository
from flm.services.logs import parse_since
from flm.services.times import moment, span

HOURS_SHOWN = 7 * DAY
"""Seconds of which the hours are told when nobody says since when."""


class UsageRow(msgspec.Struct, frozen=True, kw_only=True):
    """The sums of one key, model, engine, API, day or hour.

    ``name``: a key's id, a name, a date or an ISO 8601 hour (UTC); '' of what has none.
    ``label``: a key's label, None of what is no key of the store.
    """

    name: str
    label: str | None
    tally: Tally


class UsageReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was used from ``since`` to before ``until`` (UTC seconds, None: no bound).

    Days and hours are in their order; others the busiest first, by tokens, then by requests.
    """

    by: By
    since: int | None
    until: int | None
    rows: tuple[UsageRow, ...]
    total: Tally


class UsageService:
    """Asks the sums that are made as records are stored: no record is read."""

    def __init__(self, usage: UsageRepository, keys: KeyRepository, clock: Clock) -> None:
        self._usage = usage
        self._keys = keys
        self._clock = clock

    def report(
        self,
        by: By = "model",
        since: str | None = None,
        until: str | None = None,
        key: str | None = None,
        model: str | None = None,
    ) -> UsageReport:
        """What was used, told apart by ``by``.

        ``since`` and ``until``: `15m`, `2h`, `3d` ago, a date or date-time (UTC unless it says
        otherwise), taken to whole hours outwards; a date in ``until`` is its end. Without
        ``since`` everything counts, but of hours the last seven days of them. ``key``: a key's
        id. Raises `InvalidValue`.
        """
        start, end = self._start(since), self._end(until)
        if by == "hour" and start is None:
            start = max(0, int((end or self._clock.now()) // HOUR * HOUR) - HOURS_SHOWN)
        wanted = UsageFilter(by=by, since=start, until=end, key=key, model=model)
        if wanted.since is not None and wanted.until is not None and wanted.since >= wanted.until:
            raise InvalidValue(
                N_("The span ends before it begins: from {since} until {until}."),
                since=since,
                until=until,
            )
        found = self._usage.sums(wanted)
        labels: dict[str, str] = {}
        if by == "key":
            labels = {each.id: each.label for each in self._keys.all()}
        rows = [
            UsageRow(name=name, label=labels.get(name), tally=tally)
            for name, tally in ((_name(by, of), tally) for of, tally in found.rows.items())
        ]
        total = Tally()
        for row in rows:
            total.add(row.tally)
        return UsageReport(
            by=by, since=found.since, until=found.until, rows=_sorted(by, rows), total=total
        )

    def _start(self, text: str | None) -> int | None:
        if text is None:
            return None
        return max(0, int(parse_since(text, self._clock.now()) // HOUR * HOUR))

    def _end(self, text: str | None) -> int | None:
        if text is None:
            return None
        seconds = span(text)
        at = moment(text, end_of_day=True) if seconds is None else self._clock.now() - seconds
        if at is None:
            raise InvalidValue(
                N_("{text!r} is no moment to look until."),
                remedy=N_("Give a span such as 15m, 2h or 3d, or a date such as 2026-01-31."),
                text=text,
            )
        return max(0, int(-(-at // HOUR) * HOUR))


def _sorted(by: By, rows: list[UsageRow]) -> tuple[UsageRow, ...]:
    if by in ("day", "hour"):
        return tuple(sorted(rows, key=lambda row: row.name))
    return tuple(sorted(rows, key=lambda row: (-row.tally.tokens, -row.tally.requests, row.name)))


def _name(by: By, name: str | int) -> str:
    """What a sum is of, as text; times are UTC."""
    if isinstance(name, str):
        return name
    at = datetime.fromtimestamp(name, UTC)
    return at.strftime("%Y-%m-%d" if by == "day" else "%Y-%m-%dT%H:00Z")
