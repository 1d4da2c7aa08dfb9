"""What telemetry.db keeps, as Protocols: records, usage, the engines' health, responses.

`flm.store` implements them as `flm.ports.repositories` says.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol

import msgspec

from flm.domain.engines import EngineId
from flm.domain.records import RequestRecord
from flm.domain.usage import By, Tally


class Checkpoint(NamedTuple):
    """How far one instance's journal is stored."""

    segment: int
    offset: int


class RecordFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which records to show. ``since``: UTC seconds; ``status``: '404', '4xx', '400-499', 'ok'
    (answered, and to its end) or 'error' (everything else).
    """

    limit: int = 50
    since: float | None = None
    status: str | None = None
    model: str | None = None
    key: str | None = None
    engine: str | None = None
    api: str | None = None


class Place(NamedTuple):
    """A place in the order in which records were stored: that of the record `id`, '' none yet."""

    number: int = 0
    id: str = ""


class Arrived(NamedTuple):
    """Records in the order in which they were stored, and where to look on from."""

    records: list[RequestRecord]
    place: Place


class RecordRepository(Protocol):
    """Request records (telemetry.db)."""

    def store(self, instance: str, records: Sequence[RequestRecord], upto: Checkpoint) -> int:
        """Insert-or-ignore by id and move the checkpoint in one transaction; how many were new."""
        ...

    def checkpoint(self, instance: str) -> Checkpoint: ...
    def forget_instance(self, instance: str) -> None: ...
    def search(self, wanted: RecordFilter) -> list[RequestRecord]:
        """Newest first."""
        ...

    def latest(self, wanted: RecordFilter) -> Arrived:
        """The newest ``limit`` records that match, and the place after everything stored."""
        ...

    def after(self, place: Place, wanted: RecordFilter) -> Arrived:
        """Records that match and were stored after `place`, whatever their times; at most
        ``limit`` of them, the next ones being for the next call.
        """
        ...

    def prune(self, before: float, keep: int) -> int:
        """Remove records older than `before`, and the oldest beyond `keep`; how many went."""
        ...


class UsageFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which sums to show, told apart by ``by``. ``since`` and ``until``: UTC seconds, the starts
    of hours; what begins before ``until`` counts. ``key``: a key's id.
    """

    by: By
    since: int | None = None
    until: int | None = None
    key: str | None = None
    model: str | None = None


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What was used in a span, by name, or by time for hours and days (UTC seconds).

    ``since`` and ``until`` as they were taken: whole days where no hours are kept any more.
    """

    since: int | None
    until: int | None
    rows: dict[str | int, Tally]


class UsageRepository(Protocol):
    """What was used (telemetry.db): summed as records are stored, and kept longer than they."""

    def sums(self, wanted: UsageFilter) -> Usage: ...
    def prune(self, hours_before: float, days_before: float) -> int:
        """Remove the sums of hours and of days that are older (UTC seconds); how many went."""
        ...


class HealthMark(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine was at a time. ``state``: its word in PRODUCT.md; ``time``: UTC seconds."""

    engine: EngineId
    time: float
    state: str
    latency_ms: float | None = None
    reason: str = ""


class HealthRepository(Protocol):
    """The history of the engines' states (telemetry.db)."""

    def add(self, marks: Sequence[HealthMark]) -> None: ...
    def history(
        self, engine: EngineId | None = None, since: float | None = None, limit: int = 50
    ) -> list[HealthMark]:
        """Newest first."""
        ...

    def prune(self, before: float) -> int:
        """Remove marks older than `before` (UTC seconds); how many went."""
        ...


class StoredResponse(msgspec.Struct, frozen=True, kw_only=True):
    """A response that a client may ask for again. Times are UTC seconds; ``sealed`` is what it
    says; ``previous``: the id of the one before it in its chain, '' for none.
    """

    id: str
    key_id: str
    model: str
    previous: str
    created_at: float
    expires_at: float
    sealed: bytes


class ResponseTotals(msgspec.Struct, frozen=True):
    """How much is kept."""

    count: int
    size: int


class ResponseRepository(Protocol):
    """Responses with stored state (telemetry.db). ``keys``: those whose responses count."""

    def keep(self, responses: Sequence[StoredResponse]) -> list[bool]:
        """Insert each, and let its chain live as long; False for one whose id is taken."""
        ...

    def chain(
        self, response: str, keys: Collection[str], now: float, depth: int
    ) -> list[StoredResponse]:
        """The response and those before it, newest first, at most ``depth``; ends where one is
        missing or has expired.
        """
        ...

    def forget(self, response: str, keys: Collection[str]) -> bool: ...
    def keys(self) -> set[str]:
        """The keys that have responses here."""
        ...

    def forget_keys(self, keys: Collection[str]) -> int:
        """Remove all responses of these keys; how many went."""
        ...

    def prune(self, now: float, keep: int, size: int) -> int:
        """Remove what has expired, and what ends first beyond `keep` responses or `size` bytes;
        how many went.
        """
        ...

    def totals(self) -> ResponseTotals: ...
