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


class JournalRecord(RequestRecord, frozen=True, kw_only=True, array_like=True, gc=False):
    """The same as a msgpack array, as the journal holds it."""
