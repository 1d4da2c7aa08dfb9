"""What was used: the sums of many records. Roll-ups are made of these. Pure."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Literal, NamedTuple, Self

import msgspec

from flm.domain.records import RequestRecord, generation

HOUR = 3_600
DAY = 86_400

LEFT = 499
"""The status of a request whose client left before the end: an engine may have worked for it."""

By = Literal["key", "model", "engine", "api", "day", "hour"]
"""What sums are told apart by."""


class Group(NamedTuple):
    """What one sum is of. ``time``: UTC seconds, the start of its hour or day.

    ``model`` '' where no engine was asked: then it is whatever a stranger wrote.
    """

    time: int
    model: str
    engine: str
    api: str
    key_id: str


class Tally(msgspec.Struct, kw_only=True, gc=False):
    """The sums of some records. All are whole numbers, so that no order of adding tells.

    ``errors`` of the ``requests`` did not go well; ``estimated`` of them tell FLM's own guess of
    their tokens and ``untold`` none at all, though an engine answered. ``latency_us`` sums how
    long those that went well took, in µs; ``first_token_us`` the time to the first token of
    ``first_tokens`` requests; ``generated`` tokens came in ``generated_us``.
    """

    requests: int = 0
    errors: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: int = 0
    untold: int = 0
    latency_us: int = 0
    first_tokens: int = 0
    first_token_us: int = 0
    generated: int = 0
    generated_us: int = 0

    def add(self, other: Self) -> None:
        """Take the sums of `other` in."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @property
    def tokens(self) -> int:
        """In and out."""
        return self.tokens_in + self.tokens_out

    @property
    def mean_latency_ms(self) -> float | None:
        """Of what went well, None where nothing did."""
        good = self.requests - self.errors
        return self.latency_us / good / 1000 if good else None

    @property
    def mean_first_token_ms(self) -> float | None:
        """Of the streams that had a first token, None without any."""
        return self.first_token_us / self.first_tokens / 1000 if self.first_tokens else None

    @property
    def tokens_per_second(self) -> float | None:
        """How fast tokens came while they came; None where that is not known."""
        return self.generated * 1_000_000 / self.generated_us if self.generated_us else None


def tallied(records: Iterable[RequestRecord]) -> dict[Group, Tally]:
    """The sums of the records by hour, model, engine, publication and key.

    A hundred thousand a second pass here: what few records have is asked for by a test first.
    """
    found: dict[tuple[int, str, str, str, str], Tally] = {}
    for record in records:
        engine = record.engine
        group = (
            int(record.time) // HOUR * HOUR,
            record.model if engine else "",
            engine,
            record.api,
            record.key_id,
        )
        tally = found.get(group)
        if tally is None:
            tally = found[group] = Tally()
        tally.requests += 1
        if record.status >= 400 or record.error:
            tally.errors += 1
        else:
            tally.latency_us += int(record.latency_ms * 1000)
        sent, received = record.tokens_in, record.tokens_out
        if sent is None and received is None:
            if engine and (record.status < 400 or record.status == LEFT):
                tally.untold += 1
        else:
            _add_tokens(tally, record)
        if record.first_token_ms is not None:
            tally.first_tokens += 1
            tally.first_token_us += int(record.first_token_ms * 1000)
    return {Group(*group): tally for group, tally in found.items()}


def _add_tokens(tally: Tally, record: RequestRecord) -> None:
    tally.tokens_in += record.tokens_in or 0
    tally.tokens_out += record.tokens_out or 0
    tally.cached_tokens += record.cached_tokens or 0
    tally.reasoning_tokens += record.reasoning_tokens or 0
    tally.estimated += record.estimated
    tokens, milliseconds = generation(record)
    if tokens:
        tally.generated += tokens
        tally.generated_us += int(milliseconds * 1000)


def by_day(hours: dict[Group, Tally]) -> dict[Group, Tally]:
    """The sums of hours as sums of UTC days."""
    days: dict[Group, Tally] = {}
    for group, tally in hours.items():
        day = group._replace(time=group.time // DAY * DAY)
        there = days.get(day)
        if there is None:
            days[day] = copy.copy(tally)
        else:
            there.add(tally)
    return days
