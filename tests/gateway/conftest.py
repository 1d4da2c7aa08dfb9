"""A gateway and an engine for every file of tests, and an engine that every test may script."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.gateway import RunningGateway, gateway, target_at
from support.scripted_engine import ScriptedEngine, answer_body, answering, sized


@pytest.fixture(scope="module")
def module_engine() -> Iterator[ScriptedEngine]:
    """The engine of one file."""
    with ScriptedEngine(answering(sized(answer_body()))) as engine:
        yield engine


@pytest.fixture(scope="module")
def served(
    module_engine: ScriptedEngine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningGateway]:
    """The gateway of one file, with the model `m` on its engine."""
    with gateway(tmp_path_factory.mktemp("journal"), target_at(module_engine.port)) as running:
        yield running


@pytest.fixture
def engine(module_engine: ScriptedEngine) -> ScriptedEngine:
    """The file's engine, as if nothing had been asked of it: it answers whole chats."""
    module_engine.script = answering(sized(answer_body()))
    module_engine.seen.clear()
    return module_engine
