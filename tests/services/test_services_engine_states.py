"""How a state follows from what was seen now and before: every transition, and any sequence."""

from __future__ import annotations

from functools import reduce

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from flm.domain.engines import (
    STARTING,
    ApiError,
    Degraded,
    EngineState,
    Healthy,
    InstalledOnly,
    NetworkError,
    serves,
    state_name,
)
from flm.ports.engines import NO_ANSWER
from flm.services.engine_states import Health, Thresholds, judge

LIMITS = Thresholds(latency_ms=1500.0, network_failures=3, good_checks=3)
GOOD = Healthy(10.0)
SLOW = Healthy(2000.0)
LOADING = Degraded(5.0, STARTING)
BUSY = Degraded(5.0, "busy")
LOCKED = ApiError("needs_key")
REFUSED = NetworkError("connection refused", 1)
SILENT = NetworkError(NO_ANSWER, 1)


def after(*seen: EngineState) -> Health:
    """The health after seeing these, one look after the other."""
    nothing: Health | None = None
    found = reduce(lambda before, state: judge(state, before, LIMITS), seen, nothing)
    assert found is not None
    return found


def recovering(count: int) -> Degraded:
    """A degraded engine that has been good so many times."""
    return Degraded(10.0, f"recovering, {count} of 3 good checks")


def silent(count: int) -> Degraded:
    """An engine that has served and kept silent so many times."""
    return Degraded(1500.0, f"no answer in time, {count} of 3 times")


TOO_SLOW = Degraded(2000.0, "slower than 1500 ms")


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        # The first look.
        ([GOOD], GOOD),
        ([Healthy(1500.0)], Healthy(1500.0)),
        ([Healthy(1500.5)], Degraded(1500.5, "slower than 1500 ms")),
        ([LOADING], LOADING),
        ([BUSY], BUSY),
        ([LOCKED], LOCKED),
        ([REFUSED], NetworkError("connection refused", 1)),
        ([SILENT], NetworkError(NO_ANSWER, 1)),
        # From healthy.
        ([GOOD, SLOW], TOO_SLOW),
        ([GOOD, LOADING], LOADING),
        ([GOOD, LOCKED], LOCKED),
        ([GOOD, REFUSED], NetworkError("connection refused", 1)),
        ([GOOD, SILENT], silent(1)),
        ([GOOD, SILENT, SILENT], silent(2)),
        ([GOOD, SILENT, SILENT, SILENT], NetworkError(NO_ANSWER, 3)),
        # From degraded.
        ([SLOW, GOOD], recovering(1)),
        ([SLOW, GOOD, GOOD], recovering(2)),
        ([SLOW, GOOD, GOOD, GOOD], GOOD),
        ([SLOW, GOOD, GOOD, SLOW, GOOD, GOOD], recovering(2)),
        ([BUSY, GOOD], recovering(1)),
        ([SLOW, SILENT], silent(1)),
        ([SLOW, REFUSED], NetworkError("connection refused", 1)),
        ([SLOW, LOCKED], LOCKED),
        ([GOOD, SILENT, GOOD], recovering(1)),
        ([GOOD, SILENT, GOOD, SILENT], silent(1)),
        ([GOOD, SILENT, GOOD, GOOD, GOOD], GOOD),
        ([GOOD, SILENT, REFUSED], NetworkError("connection refused", 2)),
        # From starting.
        ([LOADING, GOOD], GOOD),
        ([LOADING, SLOW], TOO_SLOW),
        ([LOADING, SILENT], LOADING),
        ([LOADING, SILENT, SILENT], LOADING),
        ([LOADING, SILENT, SILENT, GOOD], GOOD),
        ([LOADING, SILENT, SILENT, SILENT], NetworkError(NO_ANSWER, 3)),
        ([LOADING, REFUSED], NetworkError("connection refused", 1)),
        # From an error.
        ([REFUSED, GOOD], GOOD),
        ([REFUSED, LOADING, GOOD], GOOD),
        ([REFUSED, SLOW], TOO_SLOW),
        ([REFUSED, REFUSED, REFUSED, REFUSED], NetworkError("connection refused", 4)),
        ([REFUSED, SILENT], NetworkError(NO_ANSWER, 2)),
        ([REFUSED, LOCKED], LOCKED),
        ([LOCKED, GOOD], GOOD),
        ([LOCKED, REFUSED], NetworkError("connection refused", 1)),
        ([LOCKED, SILENT], NetworkError(NO_ANSWER, 1)),
    ],
)
def test_a_state_follows_from_what_was_seen(seen: list[EngineState], expected: EngineState) -> None:
    """The table of the module, transition by transition."""
    assert after(*seen).state == expected


def test_failures_in_a_row_are_forgotten_with_the_first_answer() -> None:
    """Whatever the answer says."""
    assert after(REFUSED, REFUSED).failures == 2
    assert after(REFUSED, REFUSED, GOOD).failures == 0
    assert after(REFUSED, REFUSED, LOCKED).failures == 0
    assert after(REFUSED, REFUSED, LOADING).failures == 0


def test_an_engine_that_was_only_installed_is_healthy_at_once_and_never_served_in_silence() -> None:
    """Nothing says that it runs before it answers."""
    installed = Health(InstalledOnly())
    assert judge(GOOD, installed, LIMITS).state == GOOD
    assert judge(SILENT, installed, LIMITS).state == NetworkError(NO_ANSWER, 1)


def test_the_thresholds_are_those_that_are_given() -> None:
    """Slower engines, fewer failures, quicker recovery."""
    own = Thresholds(latency_ms=50.0, network_failures=1, good_checks=1)
    slow = judge(Healthy(51.0), None, own)
    assert slow.state == Degraded(51.0, "slower than 50 ms")
    assert judge(Healthy(50.0), slow, own).state == Healthy(50.0)
    assert judge(SILENT, Health(GOOD), own).state == NetworkError(NO_ANSWER, 1)


_latencies = st.floats(0.0, 10_000.0, allow_nan=False)


class Looks(RuleBasedStateMachine):
    """Any sequence of looks, beside a plain account of what was seen."""

    def __init__(self) -> None:
        super().__init__()
        self.health: Health | None = None
        self.seen: list[EngineState] = []

    @rule(
        state=st.one_of(
            st.builds(Healthy, _latencies),
            st.builds(Degraded, _latencies, st.sampled_from([STARTING, "busy"])),
            st.builds(ApiError, st.sampled_from(["needs_key", "HTTP status 500"])),
            st.sampled_from([REFUSED, SILENT]),
        )
    )
    def look(self, state: EngineState) -> None:
        """One look."""
        self.health = judge(state, self.health, LIMITS)
        self.seen.append(state)

    @rule()
    def restart(self) -> None:
        """The counts are all that is remembered besides the state."""
        if self.health is not None:
            self.health = Health(self.health.state, self.health.failures, self.health.good)

    def last(self, count: int, *kinds: type) -> bool:
        """Whether the last so many looks saw nothing but these."""
        last = self.seen[-count:]
        return len(last) == count and all(isinstance(state, kinds) for state in last)

    @invariant()
    def a_refused_connection_never_serves(self) -> None:
        """Nor does an API error."""
        if self.health is not None and self.seen[-1] in (REFUSED,):
            assert state_name(self.health.state) == "error-network"
        if self.health is not None and isinstance(self.seen[-1], ApiError):
            assert self.health.state == self.seen[-1]

    @invariant()
    def three_unanswered_checks_never_serve(self) -> None:
        """However good it was before."""
        if self.last(3, NetworkError):
            assert self.health is not None
            assert state_name(self.health.state) == "error-network"

    @invariant()
    def healthy_is_what_answered_quickly_just_now(self) -> None:
        """And three quick answers in a row always make healthy."""
        if self.health is not None and isinstance(self.health.state, Healthy):
            assert self.health.state == self.seen[-1]
            assert self.health.state.latency_ms <= 1500.0
        quick = [isinstance(each, Healthy) and each.latency_ms <= 1500.0 for each in self.seen[-3:]]
        if len(quick) == 3 and all(quick):
            assert self.health is not None
            assert isinstance(self.health.state, Healthy)

    @invariant()
    def the_counts_are_those_of_the_last_looks(self) -> None:
        """Failures in a row, and the state's own number of them."""
        if self.health is None:
            return
        row = 0
        for state in reversed(self.seen):
            if not isinstance(state, NetworkError):
                break
            row += 1
        assert self.health.failures == row
        if isinstance(self.health.state, NetworkError):
            assert self.health.state.consecutive_failures == row

    @invariant()
    def silence_serves_only_what_served(self) -> None:
        """An engine that never answered as one does is not served."""
        if self.health is not None and serves(self.health.state):
            assert any(serves(state) for state in self.seen)


TestLooks = Looks.TestCase
TestLooks.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
