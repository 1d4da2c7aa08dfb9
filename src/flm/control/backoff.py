"""Waits before what has failed is tried again: 0.1 s, then twice as long each time, up to 10 s."""

from __future__ import annotations

import asyncio

import msgspec

from flm.ports.clock import Clock

FIRST_SECONDS = 0.1
MAX_SECONDS = 10.0


class _Failures(msgspec.Struct, frozen=True):
    """Failures in a row, and when the next try may be made (monotonic)."""

    count: int
    not_before: float


class Backoff:
    """What has failed, by name. Bounded by the names there are."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures: dict[str, _Failures] = {}

    async def wait(self, name: str) -> None:
        """Wait until `name` may be tried again; not at all when it did not fail."""
        failures = self._failures.get(name)
        if failures is not None:
            await asyncio.sleep(max(0.0, failures.not_before - self._clock.monotonic()))

    def failed(self, name: str) -> None:
        """It failed once more."""
        before = self._failures.get(name)
        count = 1 if before is None else before.count + 1
        wait = min(FIRST_SECONDS * 2.0 ** min(count - 1, 16), MAX_SECONDS)
        self._failures[name] = _Failures(count, self._clock.monotonic() + wait)

    def forget(self, name: str) -> None:
        """It went well for long enough."""
        self._failures.pop(name, None)
