"""The measured rounds: each candidate on one core, load and engine on the other, in turn."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from bench.candidates import Candidate
from bench.load import Answers, closed_loop
from bench.machine import busy_share, core_times, cpu_seconds, pss_megabytes
from bench.streams import Asking, Streamed, Streams, openai
from bench.upstream import PERIOD, request_body

CONNECTIONS = 32


@dataclass(frozen=True, kw_only=True)
class Cores:
    """Where things run: the candidate alone on one core, all else on the other."""

    candidate: int
    rest: int


@dataclass(frozen=True, kw_only=True)
class Round:
    """One candidate's turn: CPU seconds of each side, and of the whole cores, per second."""

    answers: Answers
    candidate_cpu: float
    cpu_by_role: dict[str, float]
    engine_cpu: float
    candidate_core: float
    rest_core: float
    catch_up_cpu: float
    catch_up_seconds: float


def throughput_round(
    candidate: Candidate, engine: list[int], cores: Cores, seconds: float, folder: Path
) -> Round:
    """wrk for `seconds` against one candidate, then wait until it has caught up with itself."""
    body = request_body(candidate.model)
    times, own, engines = core_times(), cpu_by_role(candidate), cpu_seconds(engine)
    answers = closed_loop(
        candidate.port,
        body,
        candidate.key,
        seconds=seconds,
        connections=CONNECTIONS,
        core=cores.rest,
        folder=folder,
    )
    after, own_after = core_times(), cpu_by_role(candidate)
    each = {role: (own_after[role] - own[role]) / answers.seconds for role in own}
    caught_up = settle(candidate)
    return Round(
        answers=answers,
        candidate_cpu=sum(each.values()),
        cpu_by_role=each,
        engine_cpu=(cpu_seconds(engine) - engines) / answers.seconds,
        candidate_core=busy_share(times, after, cores.candidate),
        rest_core=busy_share(times, after, cores.rest),
        catch_up_cpu=cpu_seconds(candidate.all_pids) - sum(own_after.values()),
        catch_up_seconds=caught_up,
    )


def cpu_by_role(candidate: Candidate) -> dict[str, float]:
    """CPU seconds used so far by each of a candidate's processes."""
    return {role: cpu_seconds([pid]) for role, pid in candidate.pids.items()}


def settle(candidate: Candidate, limit: float = 20.0) -> float:
    """Wait until a candidate uses under 5 % of a core; the seconds it took.

    What it still has to do after its round (FLM stores what it journalled) must not be done
    in the next candidate's time.
    """
    start = time.monotonic()
    while time.monotonic() < start + limit:
        before = cpu_seconds(candidate.all_pids)
        time.sleep(0.4)
        if cpu_seconds(candidate.all_pids) - before < 0.02:
            break
    return max(0.0, time.monotonic() - start - 0.4)


@dataclass(frozen=True, kw_only=True)
class StreamRound:
    """One candidate's turn with open streams. CPU in microseconds for each chunk."""

    streamed: Streamed
    cpu_per_chunk: float
    candidate_cpu: float
    engine_cpu: float
    pace: float
    memory: dict[str, float]


def stream_round(
    candidate: Candidate,
    engine: list[int],
    count: int,
    seconds: float,
    *,
    asking: Asking = openai,
    period: float = PERIOD,
) -> StreamRound:
    """`count` streams for `seconds`, counted while all of them are open; `period`: the engine's.

    `pace` is chunks delivered against chunks due: under 0.97 somebody could not keep up.
    """
    taken: dict[str, Any] = {}
    events = int((seconds + 0.5 + count / 250) / period)  # all still open after `seconds`

    def measured(moment: str) -> None:
        taken[moment] = (cpu_seconds(candidate.all_pids), cpu_seconds(engine))
        if moment == "begin":
            taken["memory"] = memory(candidate)

    asked = asking(candidate.model, events)
    streams = Streams(candidate.port, asked, candidate.key, count=count, events=events)
    streamed = streams.run(seconds, measured)
    settle(candidate)
    (own, engines), (own_after, engines_after) = taken["begin"], taken["end"]
    return StreamRound(
        streamed=streamed,
        cpu_per_chunk=1e6 * (own_after - own) / max(1, streamed.chunks),
        candidate_cpu=(own_after - own) / streamed.seconds,
        engine_cpu=(engines_after - engines) / streamed.seconds,
        pace=streamed.chunks / (count * streamed.seconds / period),
        memory=taken["memory"],
    )


def memory(candidate: Candidate) -> dict[str, float]:
    """PSS in MB by process, and of all together."""
    each = {role: pss_megabytes([pid]) for role, pid in candidate.pids.items()}
    return {**each, "all": sum(each.values())}


def middle(values: list[float]) -> float:
    """The median; 0 of nothing."""
    return median(values) if values else 0.0


def as_document(measured: Any) -> Any:
    """Dataclasses as what JSON can hold."""
    if isinstance(measured, dict):
        return {key: as_document(value) for key, value in measured.items()}
    if isinstance(measured, list):
        return [as_document(value) for value in measured]
    return asdict(measured) if hasattr(measured, "__dataclass_fields__") else measured
