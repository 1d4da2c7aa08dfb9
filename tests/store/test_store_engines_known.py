"""Ids of found engines, their keys and names, and the history of states."""

from __future__ import annotations

import pytest

from flm.domain.engines import Address, EngineDefinition, EngineId, KnownEngine
from flm.errors import Conflict
from flm.ports.repositories import Store
from flm.ports.telemetry import HealthMark

OLLAMA = KnownEngine(
    id=EngineId("ollama"), kind="ollama", address=Address("127.0.0.1", 11434), sealed_key=None
)
VLLM = EngineDefinition(
    id=EngineId("box"), kind="auto", address=Address("box.lan", 443, "/x", True, "/ca.pem")
)
MOVED = {"engines.ollama.num_ctx[x]": "engines.box.num_ctx[x]"}


def test_a_definition_comes_back_whole(store: Store):
    """HTTPS, the authorities' file and the kind `auto` included."""
    store.engines.add(VLLM)
    assert store.engines.definitions() == [VLLM]


def test_a_found_engine_keeps_its_id_place_and_key(store: Store):
    """What is noted again changes nothing, and moves no revision."""
    before = store.revisions()
    store.engines.note([OLLAMA])
    assert store.revisions() == before
    store.engines.set_key(OLLAMA.id, b"sealed")
    moved = KnownEngine(id=OLLAMA.id, kind="ollama", address=Address("127.0.0.1", 1))
    store.engines.note([moved])
    assert store.engines.known() == [
        KnownEngine(id=OLLAMA.id, kind="ollama", address=OLLAMA.address, sealed_key=b"sealed")
    ]
    assert store.everything().known == store.engines.known()


def test_a_renamed_engine_takes_its_settings_along(store: Store):
    """Those that are named; others stay."""
    store.engines.note([OLLAMA])
    store.settings.set("engines.ollama.num_ctx[x]", "4096")
    store.settings.set("engines.ollama-2.num_ctx", "512")
    assert store.engines.rename(OLLAMA.id, EngineId("box"), MOVED) is True
    assert [known.id for known in store.engines.known()] == ["box"]
    assert store.settings.all() == {
        "engines.box.num_ctx[x]": "4096",
        "engines.ollama-2.num_ctx": "512",
    }


def test_a_taken_name_is_refused(store: Store):
    """And nothing has changed."""
    store.engines.note([OLLAMA])
    store.engines.add(VLLM)
    with pytest.raises(Conflict):
        store.engines.rename(OLLAMA.id, VLLM.id, {})
    assert [known.id for known in store.engines.known()] == ["ollama"]


def test_an_unknown_engine_is_neither_renamed_nor_given_a_key(store: Store):
    """False tells it."""
    assert store.engines.rename(EngineId("x"), EngineId("y"), {}) is False
    assert store.engines.set_key(EngineId("x"), b"k") is False


def test_the_history_comes_newest_first(store: Store):
    """Of one engine or all, since a time, at most so many; the old ones go."""
    marks = [
        HealthMark(engine=EngineId("a"), time=1.0, state="running-healthy", latency_ms=2.5),
        HealthMark(engine=EngineId("b"), time=2.0, state="error-network", reason="refused"),
        HealthMark(engine=EngineId("a"), time=3.0, state="running-degraded", latency_ms=9.0),
    ]
    store.health.add(marks)
    store.health.add(marks[:1])
    assert store.health.history() == marks[::-1]
    assert store.health.history(EngineId("a"), limit=1) == [marks[2]]
    assert store.health.history(since=2.0) == [marks[2], marks[1]]
    assert store.health.prune(2.5) == 2
    assert store.health.history() == [marks[2]]
