"""Thousands of streams at once: every one must bring each of its events, and its end."""

from __future__ import annotations

from typing import Any

from bench import report, rounds
from bench.machine import many_files
from bench.setting import Setting
from bench.upstream import PERIOD

SLOWER = 10
"""Each stream has an event in ten periods: 2,000 of them are as many chunks as 200 usual ones."""

SPARE_FILES = 200


def run(setting: Setting) -> Any:
    """Errors and memory, once."""
    count = setting.options.crowd
    period = SLOWER * PERIOD
    engine, engine_pids = setting.streaming_engine(setting.cores.rest, period=period)
    flm = setting.flm(engine)
    rest = {flm.name: rounds.memory(flm)}
    with many_files(count + SPARE_FILES):
        turn = rounds.stream_round(flm, engine_pids, count, setting.options.seconds, period=period)
    measured = {flm.name: [turn]}
    report.streams(measured, f"a chunk every {1000 * period:.0f} ms each")
    report.memory(rest, measured)
    report.verdict(f"errors with {count} streams", turn.streamed.errors, 0, least=False)
    return {"turn": measured, "rest": rest}
