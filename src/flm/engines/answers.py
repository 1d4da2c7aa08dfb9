"""Reading what engines answer: by shape, never by status alone, and never trusting it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, TypeVar

import msgspec

from flm.domain.addresses import destination
from flm.domain.engines import (
    NEEDS_KEY,
    ApiError,
    Degraded,
    EngineState,
    Healthy,
    NetworkError,
)
from flm.domain.reasons import ANSWERED, BUSY, REDIRECTED
from flm.ports.engines import NO_ANSWER, Probe

LISTING = 8 << 20
"""How many bytes of a list of models are read."""

EXACT = 1 << 53
Whole = Annotated[int, msgspec.Meta(ge=-EXACT, le=EXACT)]
"""A whole number that JSON holds exactly. What is beyond could not be written again, so that one
engine's nonsense would keep all engines out of the cache and the snapshot.
"""

T = TypeVar("T")


def decoded(body: bytes, shape: type[T]) -> T | None:
    """`body` as JSON of that shape, else None."""
    try:
        return msgspec.json.decode(body, type=shape)
    except (msgspec.DecodeError, RecursionError):
        return None


def answered(probe: Probe, shape: type[T]) -> T | None:
    """The body of a 200 of that shape, else None."""
    return decoded(probe.body, shape) if probe.status == 200 else None


def entries(items: Sequence[msgspec.Raw], shape: type[T]) -> list[T]:
    """The items of that shape; one odd entry does not cost the list."""
    found = (decoded(bytes(item), shape) for item in items)
    return [item for item in found if item is not None]


def state_of(probe: Probe) -> EngineState:
    """What one health question says about an engine. The latency is not judged here."""
    if probe.status == 0:
        return NetworkError(probe.error or NO_ANSWER, 1)
    if probe.status in (401, 403):
        return ApiError(NEEDS_KEY)
    if probe.status == 503:
        return Degraded(probe.latency_ms, BUSY)
    if 300 <= probe.status < 400:
        where = destination(probe.headers.get("location", ""))
        return ApiError(REDIRECTED.format(where=where))
    if probe.status != 200:
        return ApiError(ANSWERED.format(status=probe.status))
    return Healthy(probe.latency_ms)


def seconds_since_epoch(text: str) -> int:
    """An RFC 3339 time as whole UTC seconds, 0 when it is none."""
    try:
        return int(datetime.fromisoformat(text).timestamp())
    except (ValueError, OverflowError, OSError):
        return 0
