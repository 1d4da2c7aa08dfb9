"""How engines are told: what is old, how busy they are, why they are as they are."""

from __future__ import annotations

import pytest

from flm.cli import documents, phrases
from flm.domain.engines import (
    Degraded,
    Engine,
    EngineId,
    EngineLoad,
    EngineState,
    Finding,
    Healthy,
)
from flm.language import load
from flm.ports.repositories import HealthMark

WORDS = load("en")
GOOD = Healthy(12.4)


def engine(state: EngineState = GOOD, **more: object) -> Engine:
    """An engine in that state."""
    return Engine(id=EngineId("box"), kind="vllm", state=state, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("told", "in_flight", "expected"),
    [
        (EngineLoad(running=3, waiting=2, cache_usage=0.414), 4, "3 run, 2 wait, 41 % cache"),
        (EngineLoad(running=1, waiting=0, slots=4), 1, "1/4 run"),
        (EngineLoad(running=0), 0, "0 run"),
        (EngineLoad(slots=4), 2, "2 of FLM's"),
        (None, 2, "2 of FLM's"),
        (None, 0, "-"),
    ],
)
def test_how_busy_it_is_by_its_own_word_or_by_our_count(
    told: EngineLoad | None, in_flight: int, expected: str
) -> None:
    """Its own figures go first."""
    shown = phrases.engine_row(WORDS, engine(load=told, in_flight=in_flight))
    assert shown[phrases.ENGINE_HEADINGS.index("Busy")] == expected


def test_what_is_too_old_is_never_told_as_the_state() -> None:
    """Neither to people nor to programs."""
    old = engine(checked_at=1_767_225_600.0, in_flight=3)
    row = phrases.engine_row(WORDS, old, stale=True)
    assert row[2].startswith("last seen 202")
    assert "runs" not in " ".join(row)
    document = documents.engine(old, stale=True)
    assert (document["state"], document["last_state"]) == (None, "running-healthy")


def test_what_is_to_be_mended_is_marked() -> None:
    """A note is not."""
    bad = Finding(code="exposed", message="x")
    note = Finding(code="needs_key", message="x", level="note")
    assert phrases.engine_row(WORDS, engine(findings=(bad,)))[2] == "runs (12 ms) !"
    assert phrases.engine_row(WORDS, engine(findings=(note,)))[2] == "runs (12 ms)"


@pytest.mark.parametrize(
    "reason",
    [
        "slower than 1500 ms",
        "no answer in time, 2 of 3 times",
        "recovering, 1 of 3 good checks",
        "connection refused",
        "is {not} a template",
    ],
)
def test_reasons_with_numbers_are_told_by_their_templates(reason: str) -> None:
    """So that they can be translated; what is none is told as it is."""
    assert phrases.reason(WORDS, reason) == reason
    assert reason in phrases.engine_state(WORDS, engine(Degraded(1.0, reason)))


def test_a_mark_of_the_history_is_a_row() -> None:
    """A dash for what it does not have."""
    mark = HealthMark(engine=EngineId("box"), time=0.0, state="running-healthy", latency_ms=12.4)
    assert phrases.health_row(WORDS, mark)[1:] == ("box", "running-healthy", "12 ms", "-")
    assert documents.health_mark(mark) == {
        "engine": "box", "time": "1970-01-01T00:00:00.000Z", "state": "running-healthy",
        "latency_ms": 12.4, "reason": None,
    }  # fmt: skip
