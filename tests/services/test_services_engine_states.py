"""How a state follows from what was seen now and before."""

from __future__ import annotations

from functools import reduce

import pytest

from flm.domain.engines import ApiError, Degraded, EngineState, Healthy, NetworkError
from flm.ports.engines import NO_ANSWER
from flm.services.engine_states import Health, Thresholds, judge

LIMITS = Thresholds(latency_ms=1500.0, network_failures=3, good_checks=3)
REFUSED = NetworkError("connection refused", 1)
SILENT = NetworkError(NO_ANSWER, 1)


def after(*seen: EngineState) -> Health:
    """The health after seeing these, one look after the other."""
    nothing: Health | None = None
    found = reduce(lambda before, state: judge(state, before, LIMITS), seen, nothing)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ([Healthy(20.0)], Healthy(20.0)),
        ([Healthy(1500.0)], Healthy(1500.0)),
        ([Healthy(1500.5)], Degraded(1500.5, "slower than 1500 ms")),
        ([Healthy(20.0), Healthy(9000.0)], Degraded(9000.0, "slower than 1500 ms")),
        ([Degraded(5.0, "loading a model")], Degraded(5.0, "loading a model")),
        ([ApiError("needs_key")], ApiError("needs_key")),
        ([REFUSED], NetworkError("connection refused", 1)),
    ],
)
def test_one_look_is_judged_by_the_thresholds(
    seen: list[EngineState], expected: EngineState
) -> None:
    """Slowness is degraded, the rest is what was seen."""
    assert after(*seen).state == expected


def test_a_degraded_engine_is_healthy_after_three_good_checks() -> None:
    """Not sooner, and it says how far it is."""
    slow, good = Healthy(2000.0), Healthy(10.0)
    assert after(slow, good).state == Degraded(10.0, "recovering, 1 of 3 good checks")
    assert after(slow, good, good).state == Degraded(10.0, "recovering, 2 of 3 good checks")
    assert after(slow, good, good, good).state == Healthy(10.0)


def test_a_bad_check_starts_the_count_again() -> None:
    """Three good ones in a row are needed."""
    slow, good = Healthy(2000.0), Healthy(10.0)
    assert after(slow, good, good, slow, good, good).state == Degraded(
        10.0, "recovering, 2 of 3 good checks"
    )


def test_failures_in_a_row_are_counted() -> None:
    """And forgotten with the first answer."""
    assert after(REFUSED, REFUSED, REFUSED).state == NetworkError("connection refused", 3)
    assert after(REFUSED, REFUSED, Healthy(1.0), REFUSED).failures == 1


def test_a_refused_connection_is_an_error_at_once() -> None:
    """A dead engine is never served as alive."""
    assert after(Healthy(1.0), REFUSED).state == NetworkError("connection refused", 1)


def test_silence_of_an_engine_that_served_is_degraded_until_the_third_time() -> None:
    """A busy engine keeps silent too."""
    assert after(Healthy(1.0), SILENT).state == Degraded(1500.0, "no answer in time, 1 of 3 times")
    assert after(Healthy(1.0), SILENT, SILENT).state == Degraded(
        1500.0, "no answer in time, 2 of 3 times"
    )
    assert after(Healthy(1.0), SILENT, SILENT, SILENT).state == NetworkError(NO_ANSWER, 3)


def test_silence_of_an_engine_that_never_served_is_an_error() -> None:
    """Nothing says that it is alive."""
    assert after(SILENT).state == NetworkError(NO_ANSWER, 1)
    assert after(REFUSED, SILENT).state == NetworkError(NO_ANSWER, 2)


def test_an_engine_comes_back_from_an_error_at_once() -> None:
    """Only degraded ones must prove themselves."""
    assert after(REFUSED, Healthy(1.0)).state == Healthy(1.0)
    assert after(ApiError("needs_key"), Healthy(1.0)).state == Healthy(1.0)
