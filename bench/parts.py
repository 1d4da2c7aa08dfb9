"""The parts about what is passed through: requests, streams, latency, starts."""

from __future__ import annotations

from typing import Any

from bench import report, rounds, unpinned
from bench.candidates import ENGINE, Candidate, Flm
from bench.events import MODEL
from bench.setting import Setting

RENAMED = f"{ENGINE}/{MODEL}"
"""The model by a name that its engine does not know: FLM writes another one into the request and
into the answer."""


def throughput(setting: Setting) -> Any:
    """Requests a second, in turn."""
    engine, engine_pids = setting.static_engine(setting.cores.rest)
    measured = _requests(setting, setting.start(engine, streams=False), engine_pids)
    report.throughput(measured)
    report.throughput_verdicts(measured)
    return measured


def renamed(setting: Setting) -> Any:
    """Requests a second where FLM puts its engine's name for the model in, and takes it out."""
    engine, engine_pids = setting.static_engine(setting.cores.rest)
    flm = setting.flm(engine).asked_for(RENAMED)
    started = [setting.nginx(engine, streams=False), flm]
    measured = _requests(setting, started, engine_pids)
    report.throughput(measured, "the model renamed")
    report.renamed_verdicts(measured)
    return measured


def _requests(setting: Setting, started: list[Candidate], engine: list[int]) -> report.Rounds:
    measured: report.Rounds = {candidate.name: [] for candidate in started}
    for number in range(setting.options.rounds + 1):
        for candidate in started:
            seconds = setting.options.seconds if number else 1.0
            turn = rounds.throughput_round(
                candidate, engine, setting.cores, seconds, setting.processes.folder
            )
            if number:  # the first turn warms up
                measured[candidate.name].append(turn)
    return measured


def streams(setting: Setting) -> Any:
    """CPU for a chunk with some streams; errors and memory with many."""
    options = setting.options
    engine, engine_pids = setting.streaming_engine(setting.cores.rest)
    started = setting.start(engine, streams=True)
    rest = {candidate.name: rounds.memory(candidate) for candidate in started}
    measured: report.StreamRounds = {candidate.name: [] for candidate in started}
    opened: report.StreamRounds = {candidate.name: [] for candidate in started}
    for _ in range(options.rounds):
        for candidate in started:
            turn = rounds.stream_round(candidate, engine_pids, options.streams, options.seconds)
            measured[candidate.name].append(turn)
    for candidate in started:
        turn = rounds.stream_round(candidate, engine_pids, options.open, options.seconds)
        opened[candidate.name].append(turn)
    report.streams(measured)
    report.streams(opened)
    report.memory(rest, opened)
    report.stream_verdicts(measured, opened, rest)
    return {"few": measured, "many": opened, "rest": rest}


def fixed_rates(setting: Setting) -> Any:
    """FLM alone, on both cores; and what one that was left alone for a minute holds."""
    assert setting.idle is not None
    engine, _ = setting.static_engine(None)
    flm = Flm(setting.processes, "flm-unpinned")
    flm.add_engine(engine)
    candidate = flm.start(None)
    options = setting.options
    fixed = unpinned.fixed_rate(
        setting.processes, flm, candidate, options.rate, options.seconds * 1.5
    )
    added = unpinned.added_latency(candidate, engine, 1000, options.seconds)
    flm.stop()
    memory = setting.idle.memory()
    report.unpinned(fixed, added, memory)
    return {"fixed": fixed, "added": added, "idle_memory": memory}


def starts(setting: Setting) -> Any:
    """How long a start takes."""
    engine, _ = setting.static_engine(None)
    flm = Flm(setting.processes, "flm-starts")
    flm.add_engine(engine)
    flm.start(None)
    flm.stop()
    times = unpinned.start_times(flm, 5)
    report.starts(times)
    return times
