"""Which marks of the engines' states are kept."""

from __future__ import annotations

from flm.control.engine_history import EngineHistory
from flm.domain.engines import (
    ApiError,
    Degraded,
    Engine,
    EngineId,
    EngineState,
    Healthy,
    InstalledOnly,
    NetworkError,
)
from flm.ports.telemetry import HealthMark

ONE = EngineId("one")


def engine(state: EngineState, name: str = "one") -> Engine:
    """An engine in that state."""
    return Engine(id=EngineId(name), kind="vllm", state=state)


def kept(*looks: tuple[float, EngineState]) -> list[tuple[float, str, str]]:
    """The marks of looks at these times."""
    history = EngineHistory()
    return [
        (mark.time, mark.state, mark.reason)
        for time, state in looks
        for mark in history.due([engine(state)], time)
    ]


def test_a_mark_says_what_the_engine_was() -> None:
    """Latency where it has one, the reason where there is one."""
    history = EngineHistory()
    assert history.due([engine(Degraded(7.5, "busy"))], 100.0) == [
        HealthMark(engine=ONE, time=100.0, state="running-degraded", latency_ms=7.5, reason="busy")
    ]
    assert history.due([engine(ApiError("needs_key"))], 101.0) == [
        HealthMark(engine=ONE, time=101.0, state="error-api", reason="needs_key")
    ]


def test_every_change_of_state_or_reason_is_kept() -> None:
    """However quickly they follow each other; the latency alone is no change."""
    assert kept(
        (0.0, Healthy(1.0)),
        (1.0, Healthy(900.0)),
        (2.0, Degraded(2000.0, "slower than 1500 ms")),
        (3.0, Degraded(2.0, "recovering, 1 of 3 good checks")),
        (4.0, NetworkError("connection refused", 1)),
        (5.0, NetworkError("connection refused", 2)),
        (6.0, Healthy(1.0)),
    ) == [
        (0.0, "running-healthy", ""),
        (2.0, "running-degraded", "slower than 1500 ms"),
        (3.0, "running-degraded", "recovering, 1 of 3 good checks"),
        (4.0, "error-network", "connection refused"),
        (6.0, "running-healthy", ""),
    ]


def test_what_stays_the_same_is_kept_once_a_minute() -> None:
    """Though it was looked at more often."""
    looks = [(float(second), Healthy(1.0)) for second in range(0, 200, 15)]
    assert [time for time, _, _ in kept(*looks)] == [0.0, 60.0, 120.0, 180.0]


def test_an_engine_that_is_only_installed_is_kept_when_that_changes() -> None:
    """A mark a minute of what does not run tells nothing."""
    looks = [(float(second), InstalledOnly()) for second in range(0, 600, 15)]
    assert [time for time, _, _ in kept(*looks)] == [0.0]


def test_one_that_went_and_came_back_is_kept_at_once() -> None:
    """It was not there in between."""
    history = EngineHistory()
    history.due([engine(Healthy(1.0))], 0.0)
    assert history.due([], 1.0) == []
    assert len(history.due([engine(Healthy(1.0))], 2.0)) == 1


def test_what_could_not_be_kept_is_due_again() -> None:
    """A database may be locked for a while."""
    history = EngineHistory()
    history.forget(history.due([engine(Healthy(1.0))], 0.0))
    assert len(history.due([engine(Healthy(1.0))], 1.0)) == 1


def test_a_clock_that_is_put_back_stops_no_history() -> None:
    """The time of the last mark may lie ahead."""
    assert [time for time, _, _ in kept((1000.0, Healthy(1.0)), (10.0, Healthy(1.0)))] == [
        1000.0,
        10.0,
    ]
