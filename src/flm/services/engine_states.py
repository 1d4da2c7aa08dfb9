"""How an engine's state follows from what was seen of it, now and before. Pure.

::

    seen              from                            becomes
    ────────────────  ──────────────────────────────  ─────────────────────────────────────────
    good              nothing, installed-only, error  running-healthy
    good              running-healthy                 running-healthy
    good              starting                        running-healthy
    good              degraded                        degraded (recovering), healthy at the
                                                      third good check in a row
    good, but slow    any                             running-degraded
    degraded          any                             running-degraded, as the engine says it
    an API error      any                             error-api
    refused           any                             error-network
    silent            healthy, degraded               degraded until it was silent
                                                      `max_network_failures` times in a row
    silent            starting                        starting, just as long
    silent            anything else                   error-network
"""

from __future__ import annotations

import msgspec

from flm.domain.engines import (
    STARTING,
    Degraded,
    EngineState,
    Healthy,
    NetworkError,
    serves,
)
from flm.errors import N_
from flm.ports.engines import NO_ANSWER

SLOW = N_("slower than {limit} ms")
SILENT = N_("no answer in time, {count} of {limit} times")
RECOVERING = N_("recovering, {count} of {limit} good checks")
REASONS = (SLOW, SILENT, RECOVERING)
"""The reasons made here. A state holds them filled in, for programs; people get them in their
language."""


class Thresholds(msgspec.Struct, frozen=True, kw_only=True):
    """`engine.health_latency_threshold_ms`, `engine.max_network_failures`, and how many good
    checks in a row make a degraded engine healthy again."""

    latency_ms: float = 1500.0
    network_failures: int = 3
    good_checks: int = 3


class Health(msgspec.Struct, frozen=True):
    """An engine's state, and what was counted on the way: failures and good checks in a row."""

    state: EngineState
    failures: int = 0
    good: int = 0


def judge(seen: EngineState, before: Health | None, thresholds: Thresholds) -> Health:
    """What an engine is now that `seen` was seen, having been `before`.

    A refused connection is an error at once: a dead engine is never served as alive. Silence of
    an engine that served is what a busy one shows too: it stays degraded until it has been
    silent ``network_failures`` times. A degraded engine is healthy after ``good_checks``, one
    that was only starting at once.
    """
    if isinstance(seen, NetworkError):
        return _unanswered(seen, before, thresholds)
    if isinstance(seen, Healthy):
        return _answering(seen, before, thresholds)
    return Health(seen)


def _unanswered(seen: NetworkError, before: Health | None, thresholds: Thresholds) -> Health:
    failures = (before.failures if before is not None else 0) + 1
    silent = seen.reason == NO_ANSWER and failures < thresholds.network_failures
    if before is None or not serves(before.state) or not silent:
        return Health(NetworkError(seen.reason, failures), failures)
    if _is_starting(before.state):
        return Health(before.state, failures)
    reason = SILENT.format(count=failures, limit=thresholds.network_failures)
    return Health(Degraded(thresholds.latency_ms, reason), failures)


def _answering(seen: Healthy, before: Health | None, thresholds: Thresholds) -> Health:
    if seen.latency_ms > thresholds.latency_ms:
        reason = SLOW.format(limit=f"{thresholds.latency_ms:g}")
        return Health(Degraded(seen.latency_ms, reason))
    good = (before.good if before is not None else 0) + 1
    state = before.state if before is not None else None
    must_prove = isinstance(state, Degraded) and not _is_starting(state)
    if must_prove and good < thresholds.good_checks:
        reason = RECOVERING.format(count=good, limit=thresholds.good_checks)
        return Health(Degraded(seen.latency_ms, reason), 0, good)
    return Health(seen)


def _is_starting(state: EngineState) -> bool:
    return isinstance(state, Degraded) and state.reason == STARTING
