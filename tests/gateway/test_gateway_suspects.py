"""Engines that take no connection or drop one are told to the controller, once and bounded."""

from __future__ import annotations

import socket
from pathlib import Path

from flm.domain.engines import EngineLoad
from flm.gateway.live import Live
from flm.wire.channel import MAX_SUSPECTS, Loads, Stats
from flm.wire.snapshot import Rules, Snapshot
from support.gateway import gateway, keys_section, routes_section, target_at
from support.raw_client import ask, chat
from support.scripted_engine import ScriptedEngine, answer_body, answering, sized


def good() -> ScriptedEngine:
    """An engine that answers."""
    return ScriptedEngine(answering(sized(answer_body())))


def told(messages: list[object]) -> list[tuple[str, ...]]:
    """The suspects of all statistics that have some."""
    return [each.suspects for each in messages if isinstance(each, Stats) and each.suspects]


def test_an_engine_that_refuses_is_suspected_once(tmp_path: Path) -> None:
    """However many requests it refused."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with gateway(tmp_path, target_at(port)) as running:
        assert [ask(running.port, chat()).code for _ in range(3)] == ["engine_unreachable"] * 3
        running.stats(lambda stats: "e" in stats.suspects)
        running.stats(lambda stats: stats.served == 3 and not stats.suspects)
        assert set(told(running.messages)) == {("e",)}


def test_an_engine_that_answers_is_not(tmp_path: Path) -> None:
    """With an error or without."""
    with good() as engine, gateway(tmp_path, target_at(engine.port)) as running:
        assert ask(running.port, chat()).status == 200
        running.stats(lambda stats: stats.served == 1)
        assert told(running.messages) == []


def test_only_so_many_are_told_at_once(tmp_path: Path) -> None:
    """The rest comes with the next requests."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    targets = [target_at(port, f"m{number}", engine=f"e{number}") for number in range(20)]
    with gateway(tmp_path, *targets) as running:
        for number in range(20):
            ask(running.port, chat(model=f"m{number}"))
        running.stats(lambda stats: stats.served == 20)
        assert max(map(len, told(running.messages))) <= MAX_SUSPECTS


def test_how_busy_engines_are_reaches_the_gateway(tmp_path: Path) -> None:
    """And disturbs nothing."""
    with good() as engine, gateway(tmp_path, target_at(engine.port)) as running:
        running.send(Loads({"e": EngineLoad(running=3, waiting=2, cache_usage=0.41)}))
        assert ask(running.port, chat()).status == 200


def test_nothing_is_known_of_the_loads_at_first() -> None:
    """Until the controller has asked."""
    live = Live(Snapshot(keys_section(), routes_section(), Rules(revision=1)))
    assert live.loads == {}
