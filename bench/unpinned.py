"""FLM as it runs for its users: both cores, its own schedule, a fixed rate, work beside it."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass

from bench.candidates import Candidate, Flm
from bench.events import MODEL
from bench.load import Answers
from bench.machine import pss_megabytes
from bench.openloop import OpenLoop
from bench.processes import Failed, Processes, wait_until
from bench.rounds import settle
from bench.upstream import request_body


@dataclass(frozen=True, kw_only=True)
class FixedRate:
    """A fixed rate alone, and the same with work beside it."""

    rate: int
    alone: Answers
    beside: Answers
    rounds_beside: int


@dataclass(frozen=True, kw_only=True)
class Added:
    """What the way through FLM adds to a request, in milliseconds."""

    rate: int
    direct: Answers
    through: Answers

    @property
    def p50(self) -> float:
        """At the median."""
        return self.through.p50 - self.direct.p50

    @property
    def p99(self) -> float:
        """At the 99th percentile."""
        return self.through.p99 - self.direct.p99


def fixed_rate(
    processes: Processes, flm: Flm, candidate: Candidate, rate: int, seconds: float
) -> FixedRate:
    """The fixed rate, then again with a log search, a write and a swap every second beside it."""
    alone = _load(candidate.port, candidate.key, rate, seconds)
    settle(candidate)
    count = processes.folder / "beside.count"
    work = processes.start([sys.executable, "-m", "bench.beside", str(flm.data), str(count)], None)
    wait_until("the work beside", lambda: count.exists() or work.poll() is not None)
    beside = _load(candidate.port, candidate.key, rate, seconds)
    if work.poll() is not None:
        raise Failed(f"the work beside ended with {work.returncode}: {processes.last_words()}")
    work.terminate()
    work.wait(10)
    settle(candidate)
    return FixedRate(
        rate=rate, alone=alone, beside=beside, rounds_beside=int(count.read_text() or 0)
    )


def added_latency(candidate: Candidate, engine: int, rate: int, seconds: float) -> Added:
    """The same rate straight to the engine and through FLM."""
    direct = _load(engine, "", rate, seconds)
    through = _load(candidate.port, candidate.key, rate, seconds)
    return Added(rate=rate, direct=direct, through=through)


def _load(port: int, key: str, rate: int, seconds: float) -> Answers:
    body = request_body(MODEL)
    OpenLoop(port, body, key).run(min(rate, 1000), 1.0)
    return OpenLoop(port, body, key).run(rate, seconds)


def start_times(flm: Flm, starts: int) -> list[float]:
    """Seconds from `flm proxy start` to the first answered request, schema current, warm."""
    times = []
    for _ in range(starts):
        begin = time.monotonic()
        flm.start(None)
        times.append(time.monotonic() - begin)
        flm.stop()
    return times


@dataclass
class AtRest:
    """FLM without an engine, left alone: its memory is read a minute after its start."""

    candidate: Candidate
    started: float

    @classmethod
    def begin(cls, processes: Processes, core: int) -> AtRest:
        """Start it, on the core of the load, where it disturbs no candidate."""
        return cls(Flm(processes, "idle").start(core), time.monotonic())

    def memory(self) -> float:
        """PSS of both processes in MB, not before a minute has passed."""
        time.sleep(max(0.0, self.started + 60 - time.monotonic()))
        return pss_megabytes(self.candidate.all_pids)
