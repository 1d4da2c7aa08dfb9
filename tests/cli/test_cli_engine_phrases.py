"""How engines are told: what is old, how busy they are, why they are as they are."""

from __future__ import annotations

import pytest

from flm.cli import documents, phrases
from flm.domain.engines import (
    ApiError,
    Degraded,
    Engine,
    EngineId,
    EngineLoad,
    EngineState,
    Finding,
    Healthy,
    NetworkError,
)
from flm.domain.reasons import KILLED, NO_LIST
from flm.engines.ollama.adapter import NO_OLLAMA
from flm.engines.prober import REFUSED
from flm.engines.vllm.adapter import DEAD
from flm.language import load
from flm.ports.engines import NO_ANSWER
from flm.ports.telemetry import HealthMark
from flm.services.check_engines import engine_findings

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
        "answered 404",
        "redirects to https://login.example/sso",
        "it ended with code 3",
        "is {not} a template",
    ],
)
def test_reasons_with_numbers_are_told_by_their_templates(reason: str) -> None:
    """So that they can be translated; what is none is told as it is."""
    assert phrases.reason(WORDS, reason) == reason
    assert reason in phrases.engine_state(WORDS, engine(Degraded(1.0, reason)))


@pytest.mark.parametrize(
    ("state", "told"),
    [
        (NetworkError(NO_ANSWER, 1), "時間内に応答がありません"),
        (NetworkError(REFUSED, 1), "接続が拒否されました"),
        (NetworkError("it ended with code 3", 1), "コード 3 で終了しました"),
        (NetworkError(KILLED, 1), "メモリー不足"),
        (ApiError(DEAD), "起動し直す必要があります"),
        (ApiError(NO_OLLAMA), "Ollama ではありません"),
        (ApiError(NO_LIST), "モデルの一覧を読み取れません"),
        (ApiError("answered 404"), "404 という応答"),
        (ApiError("redirects to another URL"), "別の URL へリダイレクト"),
        (Degraded(1.0, "slower than 1500 ms"), "1500 ms より遅く"),
    ],
)
def test_a_reason_is_told_in_the_readers_language(state: EngineState, told: str) -> None:
    """In the list of engines and in what `flm check` says; programs read the English one."""
    japanese = load("ja")
    [found, *_] = engine_findings([engine(state)])
    assert told in phrases.engine_state(japanese, engine(state))
    assert told in phrases.finding(japanese, found)[0]
    assert documents.engine(engine(state))["reason"] == state.reason  # type: ignore[union-attr]


def test_names_in_findings_stay_as_they_are() -> None:
    """An engine may be called like a message."""
    named = Finding(
        code="x", message="{engine}: {reason}", values={"engine": "busy", "reason": "?"}
    )
    assert phrases.finding(load("ja"), named) == ["busy: ?"]


def test_a_mark_of_the_history_is_a_row() -> None:
    """A dash for what it does not have."""
    mark = HealthMark(engine=EngineId("box"), time=0.0, state="running-healthy", latency_ms=12.4)
    assert phrases.health_row(WORDS, mark)[1:] == ("box", "running-healthy", "12 ms", "-")
    assert documents.health_mark(mark) == {
        "engine": "box", "time": "1970-01-01T00:00:00.000Z", "state": "running-healthy",
        "latency_ms": 12.4, "reason": None,
    }  # fmt: skip
