"""Streams that are translated: against nginx, which passes the same engine's bytes through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench import report, rounds, streams
from bench.setting import Setting
from bench.streams import Asking

LIMIT = 6.0


@dataclass(frozen=True, kw_only=True)
class Way:
    """A translation. ``asked``: as FLM's client asks; ``straight``: as the engine is asked."""

    title: str
    ollama: bool
    asked: Asking
    straight: Asking


WAYS = {
    "ollama-openai": Way(
        title="Ollama's NDJSON to OpenAI",
        ollama=True,
        asked=streams.openai,
        straight=streams.ollama,
    ),
    "openai-anthropic": Way(
        title="OpenAI to Anthropic",
        ollama=False,
        asked=streams.anthropic,
        straight=streams.openai,
    ),
}


def run(setting: Setting) -> Any:
    """CPU for a chunk, in turn, for each way."""
    results = {}
    for name, way in WAYS.items():
        with setting.processes.section():
            results[name] = _measured(setting, way)
            report.streams(results[name], way.title)
            report.translation_verdicts(results[name], way.title, LIMIT)
    return results


def _measured(setting: Setting, way: Way) -> report.StreamRounds:
    options = setting.options
    engine, engine_pids = setting.streaming_engine(setting.cores.rest, ollama=way.ollama)
    through = setting.nginx(engine, streams=True)
    flm = setting.flm(engine, "ollama" if way.ollama else "custom")
    asked = {through: way.straight, flm: way.asked}
    measured: report.StreamRounds = {candidate.name: [] for candidate in asked}
    for _ in range(options.rounds):
        for candidate, asking in asked.items():
            turn = rounds.stream_round(
                candidate, engine_pids, options.streams, options.seconds, asking=asking
            )
            measured[candidate.name].append(turn)
    return measured
