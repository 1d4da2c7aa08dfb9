"""How an engine's state follows from what was seen of it, now and before. Pure."""

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
from flm.ports.engines import NO_ANSWER


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
        return _silent(seen, before, thresholds)
    if isinstance(seen, Healthy):
        return _answering(seen, before, thresholds)
    return Health(seen)


def _silent(seen: NetworkError, before: Health | None, thresholds: Thresholds) -> Health:
    failures = (before.failures if before is not None else 0) + 1
    served = before is not None and serves(before.state)
    if served and seen.reason == NO_ANSWER and failures < thresholds.network_failures:
        reason = f"{NO_ANSWER}, {failures} of {thresholds.network_failures} times"
        return Health(Degraded(thresholds.latency_ms, reason), failures)
    return Health(NetworkError(seen.reason, failures), failures)


def _answering(seen: Healthy, before: Health | None, thresholds: Thresholds) -> Health:
    if seen.latency_ms > thresholds.latency_ms:
        return Health(Degraded(seen.latency_ms, f"slower than {thresholds.latency_ms:g} ms"))
    good = (before.good if before is not None else 0) + 1
    state = before.state if before is not None else None
    was_degraded = isinstance(state, Degraded) and state.reason != STARTING
    if was_degraded and good < thresholds.good_checks:
        reason = f"recovering, {good} of {thresholds.good_checks} good checks"
        return Health(Degraded(seen.latency_ms, reason), 0, good)
    return Health(seen)
