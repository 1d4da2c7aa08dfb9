"""`python -m bench`: check the machine, run the parts, print what came of it."""

from __future__ import annotations

import argparse
import json
import platform
import signal
import sys
import time
from pathlib import Path
from typing import Any

from bench import candidates, machine, nginx, report, rounds, unpinned, upstream
from bench.candidates import Candidate, Flm, Yardstick
from bench.load import ask
from bench.processes import Failed, Processes, free_port, wait_until
from bench.rounds import Cores
from flm import compiled
from flm.settings import environment

PARTS = ("throughput", "streams", "unpinned", "start")
CANDIDATES = ("nginx", "sglang-router", "flm")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", choices=PARTS, action="append", help="this part (repeatable)")
    parser.add_argument("--candidates", default=",".join(CANDIDATES), help="which, in this order")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each candidate")
    parser.add_argument("--seconds", type=float, default=4.0, help="of one turn")
    parser.add_argument("--streams", type=int, default=200, help="for the CPU of a chunk")
    parser.add_argument("--open", type=int, default=500, help="streams for errors and memory")
    parser.add_argument("--rate", type=int, default=10_000, help="requests a second, unpinned")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--anyway", action="store_true", help="measure on a busy machine too")
    parser.add_argument("--yardstick", type=Path, metavar="FILE", help="run FILE PORT ENGINE_PORT")
    parser.add_argument("--yardstick-model", default=upstream.MODEL)
    parser.add_argument("--yardstick-key", default="")
    return parser.parse_args()


class Bench:
    """One run: its cores, its candidates, and what they came to."""

    def __init__(self, options: argparse.Namespace, processes: Processes) -> None:
        self.options = options
        self.processes = processes
        first, second = machine.cores()[:2]
        self.cores = Cores(candidate=first, rest=second)
        self.results: dict[str, Any] = {}

    def static_engine(self, core: int | None) -> tuple[int, list[int]]:
        """Start the engine that always answers the same; its port and processes."""
        port = free_port()
        command = nginx.static_engine(self.processes.folder / f"engine-{port}", port)
        pids = self.processes.start_nginx(command, core)
        wait_until("the static engine", lambda: ask(port, b"", "", "/v1/models") == 200)
        return port, list(pids.values())

    def streaming_engine(self) -> tuple[int, list[int]]:
        """Start the engine that streams; its port and processes."""
        port = free_port()
        command = [sys.executable, "-m", "bench.upstream", str(port)]
        process = self.processes.start(command, self.cores.rest)
        wait_until("the streaming engine", lambda: ask(port, b"", "", "/v1/models") == 200)
        return port, [process.pid]

    def start(self, engine: int, *, streams: bool) -> list[Candidate]:
        """Start all candidates in front of `engine`, on their core."""
        core, started = self.cores.candidate, []
        for name in self.options.candidates.split(","):
            if name == "nginx":
                started.append(
                    candidates.plain_nginx(self.processes, core, engine, streams=streams)
                )
            elif name == "sglang-router":
                started.append(candidates.sglang_router(self.processes, core, engine))
            elif name == "flm":
                flm = Flm(self.processes, f"flm-{engine}")
                flm.add_engine(engine)
                started.append(flm.start(core))
        if self.options.yardstick:
            given = Yardstick(
                file=self.options.yardstick,
                model=self.options.yardstick_model,
                key=self.options.yardstick_key,
            )
            started.append(candidates.script(self.processes, core, engine, given))
        return started

    def throughput(self) -> None:
        """Requests a second, in turn."""
        engine, engine_pids = self.static_engine(self.cores.rest)
        started = self.start(engine, streams=False)
        measured: report.Rounds = {candidate.name: [] for candidate in started}
        for number in range(self.options.rounds + 1):
            for candidate in started:
                seconds = self.options.seconds if number else 1.0
                turn = rounds.throughput_round(
                    candidate, engine_pids, self.cores, seconds, self.processes.folder
                )
                if number:  # the first turn warms up
                    measured[candidate.name].append(turn)
        report.throughput(measured)
        report.throughput_verdicts(measured)
        self.results["throughput"] = measured

    def streams(self) -> None:
        """CPU for a chunk with some streams; errors and memory with many."""
        seconds, few, many = self.options.seconds, self.options.streams, self.options.open
        engine, engine_pids = self.streaming_engine()
        started = self.start(engine, streams=True)
        rest = {candidate.name: rounds.memory(candidate) for candidate in started}
        measured: report.StreamRounds = {candidate.name: [] for candidate in started}
        opened: report.StreamRounds = {candidate.name: [] for candidate in started}
        for _ in range(self.options.rounds):
            for candidate in started:
                turn = rounds.stream_round(candidate, engine_pids, few, seconds)
                measured[candidate.name].append(turn)
        for candidate in started:
            turn = rounds.stream_round(candidate, engine_pids, many, seconds)
            opened[candidate.name].append(turn)
        report.streams(measured)
        report.streams(opened)
        report.memory(rest, opened)
        report.stream_verdicts(measured, opened, rest)
        self.results["streams"] = {"few": measured, "many": opened, "rest": rest}

    def unpinned(self, idle: unpinned.AtRest) -> None:
        """FLM alone, on both cores."""
        engine, _ = self.static_engine(None)
        flm = Flm(self.processes, "flm-unpinned")
        flm.add_engine(engine)
        candidate = flm.start(None)
        seconds = self.options.seconds * 1.5
        fixed = unpinned.fixed_rate(self.processes, flm, candidate, self.options.rate, seconds)
        added = unpinned.added_latency(candidate, engine, 1000, self.options.seconds)
        flm.stop()
        memory = idle.memory()
        report.unpinned(fixed, added, memory)
        self.results["unpinned"] = {"fixed": fixed, "added": added, "idle_memory": memory}

    def starts(self) -> None:
        """How long a start takes."""
        engine, _ = self.static_engine(None)
        flm = Flm(self.processes, "flm-starts")
        flm.add_engine(engine)
        flm.start(None)
        flm.stop()
        times = unpinned.start_times(flm, 5)
        report.starts(times)
        self.results["start"] = times


def run(options: argparse.Namespace, processes: Processes) -> dict[str, Any]:
    """All the parts that were asked for; the figures."""
    parts = options.only or list(PARTS)
    bench = Bench(options, processes)
    where = f"{platform.machine()}, Linux {platform.release()}, Python {platform.python_version()}"
    plain = compiled.unfit(environment())
    where += "; gateway compiled: " + ("yes" if plain is None else f"no ({plain})")
    print(f"{where}; {len(machine.cores())} cores")
    with_flm = "flm" in options.candidates.split(",")
    idle = None
    if "unpinned" in parts and with_flm:
        idle = unpinned.AtRest.begin(processes, bench.cores.rest)
    if "throughput" in parts:
        with processes.section():
            bench.throughput()
    if "streams" in parts:
        with processes.section():
            bench.streams()
    if "start" in parts and with_flm:
        with processes.section():
            bench.starts()
    if idle is not None:
        with processes.section():
            bench.unpinned(idle)
    return bench.results


def main() -> int:
    """Exit 0 with figures, 1 without."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    options = arguments()
    missing = machine.missing_tools()
    if missing:
        print(missing, file=sys.stderr)
        return 1
    begin = time.monotonic()
    try:
        machine.need_idle_cores()
    except machine.NotMeasurable as reason:
        print(reason, file=sys.stderr)
        if not options.anyway:
            return 1
        print("measuring all the same: these figures are worth nothing", file=sys.stderr)
    processes = Processes()
    try:
        results = run(options, processes)
    except Failed as failure:
        print(f"{failure}\n{processes.last_words()}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        processes.close()
    if options.json:
        options.json.write_text(json.dumps(rounds.as_document(results), indent=1) + "\n")
    print(f"\n{time.monotonic() - begin:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
