"""What was served: one record for each request."""

from __future__ import annotations

import msgspec


class RequestRecord(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One finished request. Neither prompt nor answer is in it.

    ``time``: UTC seconds at its first byte; ``status``: what the client was sent, 499 when it
    left first; ``error``: the code of the error, '' when it went well; latencies in ms;
    tokens None where the engine told none, of them those from its cache and those that were
    thoughts; ``estimated``: the tokens are FLM's own guess. ``api``: the publication that was asked
    for, '' without one. ``details``: what is rarely there, as JSON of `RecordDetails`, '' without
    any. `array_like` keeps the journal small: append fields
    at the end only, with a default, so that older segments stay readable. `gc=False`: nothing in
    one can lead back to it, and thousands at once would set the collector to work.
    """

    id: str
    time: float
    key_id: str
    model: str
    engine: str
    route: str
    status: int
    error: str
    latency_ms: float
    first_token_ms: float | None
    tokens_in: int | None
    tokens_out: int | None
    client: str
    streamed: bool
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    estimated: bool = False
    api: str = ""
    details: str = ""


MAX_TRIES = 16
"""Engines that are asked for one request, one after the other; none more are noted either."""


class Try(msgspec.Struct, frozen=True, omit_defaults=True):
    """One engine that was asked and did not answer: its target, and the code of why."""

    target: str
    error: str


class RecordDetails(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What few records have: ``tries`` before the one that counted; the publication's prompt
    template (`name@version`) and profile; whether the prompt left this machine; fields that were
    dropped.
    """

    tries: tuple[Try, ...] = ()
    template: str = ""
    profile: str = ""
    remote: bool = False
    dropped: tuple[str, ...] = ()


def details_of(record: RequestRecord) -> RecordDetails:
    """What few records have; nothing where it is damaged."""
    if not record.details:
        return _NOTHING_MORE
    try:
        return _details(record.details)
    except msgspec.DecodeError:
        return _NOTHING_MORE


_NOTHING_MORE = RecordDetails()
_details = msgspec.json.Decoder(RecordDetails).decode


def generation(record: RequestRecord) -> tuple[int, float]:
    """Tokens that were made, and the milliseconds in which they were; (0, 0.0) when not known.

    Of a stream those after the first one, in the time since that; of a whole answer all of them
    in all the time it took.
    """
    tokens, milliseconds = record.tokens_out or 0, record.latency_ms
    if record.first_token_ms is not None:
        tokens -= 1
        milliseconds -= record.first_token_ms
    return (tokens, milliseconds) if tokens > 0 and milliseconds > 0 else (0, 0.0)


def tokens_per_second(record: RequestRecord) -> float | None:
    """How fast its tokens came; None when that is not known."""
    tokens, milliseconds = generation(record)
    return tokens * 1000 / milliseconds if tokens else None


class JournalRecord(RequestRecord, frozen=True, kw_only=True, array_like=True, gc=False):
    """The same as a msgpack array, as the journal holds it."""
