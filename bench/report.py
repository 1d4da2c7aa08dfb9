"""What was measured, as a person reads it: tables, ratios, and what must hold."""

from __future__ import annotations

from collections.abc import Sequence

from bench.rounds import CONNECTIONS, Round, StreamRound, middle
from bench.unpinned import Added, FixedRate

Rounds = dict[str, list[Round]]
StreamRounds = dict[str, list[StreamRound]]

KEPT_UP = 20.0
"""Milliseconds at the median beyond which requests only queue: the rate was too high."""


def table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: the first column to the left, numbers to the right."""
    widths = [max(len(row[i]) for row in [headings, *rows]) for i in range(len(headings))]
    print(f"\n{title}")
    for row in [headings, *rows]:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        print("  " + "  ".join(cells))


def verdict(what: str, value: float, limit: float, *, least: bool, unit: str = "") -> None:
    """One line of what must hold; `least`: the limit is a floor, else a ceiling."""
    holds = value >= limit if least else value <= limit
    sign = "≥" if least else "≤"
    mark = "holds" if holds else "DOES NOT HOLD"
    print(f"  {what}: {value:.3g}{unit} (must be {sign} {limit:g}{unit}): {mark}")


def ratio(rounds: Rounds, name: str, to: str) -> float:
    """The median, over the rounds, of one candidate's requests a second against another's."""
    pairs = zip(rounds[name], rounds[to], strict=True)
    return middle([one.answers.per_second / other.answers.per_second for one, other in pairs])


def throughput(rounds: Rounds, what: str = "") -> None:
    """Requests a second on one core; `what` is special about them."""
    rows = []
    for name, turns in rounds.items():
        rows.append(
            [
                name,
                f"{middle([turn.answers.per_second for turn in turns]):,.0f}",
                f"{ratio(rounds, name, 'nginx'):.2f}" if "nginx" in rounds else "-",
                f"{middle([turn.answers.per_second / turn.candidate_cpu for turn in turns]):,.0f}",
                f"{middle([turn.answers.p50 for turn in turns]):.2f}",
                f"{middle([turn.answers.p99 for turn in turns]):.2f}",
                str(sum(turn.answers.errors for turn in turns)),
                f"{middle([turn.candidate_cpu for turn in turns]):.0%}",
                f"{middle([turn.engine_cpu for turn in turns]):.0%}",
                f"{middle([t.answers.load_cpu / t.answers.seconds for t in turns]):.0%}",
                f"{middle([turn.rest_core for turn in turns]):.0%}",
                f"{middle([turn.catch_up_cpu for turn in turns]):.1f} s",
            ]
        )
    headings = ["candidate", "req/s", "/nginx", "req/CPU-s", "p50 ms", "p99 ms", "errors"]
    headings += ["own CPU", "engine", "load", "rest core", "afterwards"]
    title = f"Requests on one core ({CONNECTIONS} connections, 0.9 kB there, 0.65 kB back"
    table(f"{title}; {what})" if what else f"{title})", headings, rows)
    print("  engine + load share the rest core: where it is full, the candidate had more to give")
    for name, turns in rounds.items():
        if len(turns[0].cpu_by_role) > 1:
            shares = {
                r: middle([turn.cpu_by_role[r] for turn in turns]) for r in turns[0].cpu_by_role
            }
            print(f"  {name}: " + ", ".join(f"{r} {share:.0%}" for r, share in shares.items()))
        stolen = middle([turn.candidate_core - turn.candidate_cpu for turn in turns])
        if stolen > 0.1:
            print(f"  {name}: others used {stolen:.0%} of its core; the figure is too low")


def throughput_verdicts(rounds: Rounds) -> None:
    """What the issue demands of requests a second."""
    if {"flm", "sglang-router"} <= rounds.keys():
        value = ratio(rounds, "flm", "sglang-router")
        verdict("requests/s against SGLang's router", value, 2, least=True, unit="×")
    if {"flm", "nginx"} <= rounds.keys():
        verdict(
            "requests/s against nginx", ratio(rounds, "flm", "nginx"), 0.33, least=True, unit="×"
        )


def renamed_verdicts(rounds: Rounds) -> None:
    """The same where FLM puts another name for the model in and takes it out."""
    value = ratio(rounds, "flm", "nginx")
    verdict("requests/s against nginx, the model renamed", value, 0.28, least=True, unit="×")


def cpu_ratio(rounds: StreamRounds, name: str) -> float:
    """The median, over the rounds, of a candidate's CPU for a chunk against nginx's."""
    pairs = zip(rounds[name], rounds["nginx"], strict=True)
    return middle([one.cpu_per_chunk / max(other.cpu_per_chunk, 0.001) for one, other in pairs])


def streams(rounds: StreamRounds, what: str = "a chunk every 10 ms each") -> None:
    """CPU for a streamed chunk, and whether streams arrived whole; `what` they are."""
    rows = []
    for name, turns in rounds.items():
        rows.append(
            [
                name,
                str(turns[0].streamed.streams),
                f"{middle([turn.cpu_per_chunk for turn in turns]):.1f}",
                f"{cpu_ratio(rounds, name):.2f}" if "nginx" in rounds else "-",
                f"{middle([turn.pace for turn in turns]):.0%}",
                str(sum(turn.streamed.errors for turn in turns)),
                f"{middle([turn.candidate_cpu for turn in turns]):.0%}",
                f"{middle([turn.engine_cpu for turn in turns]):.0%}",
                f"{middle([turn.streamed.load_cpu / turn.streamed.seconds for turn in turns]):.0%}",
            ]
        )
    headings = ["candidate", "streams", "µs CPU/chunk", "/nginx", "pace", "errors"]
    headings += ["own CPU", "engine", "load"]
    table(f"Open streams on one core ({what})", headings, rows)
    for name, turns in rounds.items():
        for complaint in {turn.streamed.complaint for turn in turns if turn.streamed.complaint}:
            print(f"  {name}: {complaint}")


def memory(rest: dict[str, dict[str, float]], rounds: StreamRounds) -> None:
    """PSS at rest and with the streams of `rounds` open."""
    rows = []
    for name, turns in rounds.items():
        for role, at_rest in rest[name].items():
            opened = middle([turn.memory[role] for turn in turns])
            rows.append([f"{name} {role}", f"{at_rest:.1f}", f"{opened:.1f}"])
    count = next(iter(rounds.values()))[0].streamed.streams
    table("Memory (PSS, MB)", ["process", "at rest", f"{count} streams"], rows)


def stream_verdicts(
    rounds: StreamRounds, many: StreamRounds, rest: dict[str, dict[str, float]]
) -> None:
    """What the issue demands of streams and memory."""
    if {"flm", "nginx"} <= rounds.keys():
        value = cpu_ratio(rounds, "flm")
        verdict("CPU for a streamed chunk against nginx", value, 1.3, least=False, unit="×")
    if "flm" in many:
        turns = many["flm"]
        count = turns[0].streamed.streams
        errors = sum(turn.streamed.errors for turn in turns)
        verdict(f"errors with {count} streams", errors, 0, least=False)
        opened = middle([turn.memory["gateway"] for turn in turns])
        verdict("gateway at rest", rest["flm"]["gateway"], 40, least=False, unit=" MB")
        verdict(f"gateway with {count} streams", opened, 60, least=False, unit=" MB")


def translation_verdicts(rounds: StreamRounds, what: str, limit: float) -> None:
    """What the issue demands of a translated stream."""
    value = cpu_ratio(rounds, "flm")
    verdict(f"CPU for a chunk, {what}, against nginx", value, limit, least=False, unit="×")
    errors = sum(turn.streamed.errors for turn in rounds["flm"])
    verdict(f"errors, {what}", errors, 0, least=False)


def unpinned(fixed: FixedRate, added: Added, idle: float) -> None:
    """The unpinned figures."""
    rows = [
        [
            name,
            f"{answers.per_second:,.0f}",
            f"{answers.p50:.2f}",
            f"{answers.p99:.2f}",
            f"{answers.worst:.1f}",
            str(answers.errors),
            f"{answers.load_cpu / answers.seconds:.0%}",
        ]
        for name, answers in (
            (f"{fixed.rate:,}/s", fixed.alone),
            (f"{fixed.rate:,}/s, work beside", fixed.beside),
            (f"{added.rate:,}/s to the engine", added.direct),
            (f"{added.rate:,}/s through FLM", added.through),
        )
    ]
    headings = ["load", "req/s", "p50 ms", "p99 ms", "worst ms", "errors", "load CPU"]
    table("Unpinned, at a fixed rate (latency from when a request was due)", headings, rows)
    print(f"  work beside: {fixed.rounds_beside} times a search, a write and snapshot swaps")
    errors = fixed.alone.errors + fixed.beside.errors
    verdict("errors at the fixed rate", errors, 0, least=False)
    if fixed.alone.p50 > KEPT_UP:
        print(f"  {fixed.rate:,}/s was more than it could answer: DOES NOT HOLD")
    value = fixed.beside.p99 / max(fixed.alone.p99, 0.001)
    verdict("p99 with work beside it", value, 2, least=False, unit="×")
    verdict("added latency, p50", added.p50, 0.3, least=False, unit=" ms")
    verdict("added latency, p99", added.p99, 2, least=False, unit=" ms")
    verdict("gateway and controller a minute after start", idle, 100, least=False, unit=" MB")


def starts(times: list[float]) -> None:
    """From `flm proxy start` to the first answered request."""
    each = ", ".join(f"{seconds:.2f}" for seconds in times)
    print(f"\nStart of `flm proxy start` to the first answered request: {each} s")
    verdict("start (median)", middle(times), 1.5, least=False, unit=" s")
