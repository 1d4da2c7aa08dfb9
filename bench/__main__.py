"""`python -m bench`: check the machine, run the parts, print what came of it."""

from __future__ import annotations

import argparse
import json
import platform
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import (
    bodies,
    crowd,
    endurance,
    machine,
    parts,
    rounds,
    translated,
    unpinned,
)
from bench.events import MODEL
from bench.processes import Failed, Processes
from bench.setting import Setting
from flm import compiled
from flm.settings import environment

PARTS: dict[str, Callable[[Setting], Any]] = {
    "throughput": parts.throughput,
    "renamed": parts.renamed,
    "streams": parts.streams,
    "translated": translated.run,
    "crowd": crowd.run,
    "bodies": bodies.run,
    "endurance": endurance.run,
    "start": parts.starts,
    "unpinned": parts.fixed_rates,
}
"""In this order."""

OF_ALL = ("throughput", "streams")
"""Parts that measure candidates beside FLM; the others are about FLM."""

CANDIDATES = ("nginx", "sglang-router", "flm")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--only", choices=list(PARTS), action="append", help="this part (repeatable)"
    )
    parser.add_argument("--candidates", default=",".join(CANDIDATES), help="which, in this order")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each candidate")
    parser.add_argument("--seconds", type=float, default=4.0, help="of one turn")
    parser.add_argument("--streams", type=int, default=200, help="for the CPU of a chunk")
    parser.add_argument("--open", type=int, default=500, help="streams for errors and memory")
    parser.add_argument("--crowd", type=int, default=2_000, help="streams, once, for errors")
    parser.add_argument("--requests", type=int, default=200_000, help="after which memory is read")
    parser.add_argument("--cancelled", type=int, default=5_000, help="streams, the same")
    parser.add_argument("--rate", type=int, default=10_000, help="requests a second, unpinned")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--anyway", action="store_true", help="measure on a busy machine too")
    parser.add_argument("--yardstick", type=Path, metavar="FILE", help="run FILE PORT ENGINE_PORT")
    parser.add_argument("--yardstick-model", default=MODEL)
    parser.add_argument("--yardstick-key", default="")
    return parser.parse_args()


def run(options: argparse.Namespace, processes: Processes) -> dict[str, Any]:
    """All the parts that were asked for; the figures."""
    asked = [part for part in PARTS if part in (options.only or PARTS)]
    setting = Setting(options, processes)
    where = f"{platform.machine()}, Linux {platform.release()}, Python {platform.python_version()}"
    plain = compiled.unfit(environment())
    where += "; gateway compiled: " + ("yes" if plain is None else f"no ({plain})")
    print(f"{where}; {len(machine.cores())} cores")
    if "flm" not in options.candidates.split(","):
        asked = [part for part in asked if part in OF_ALL]
    if "unpinned" in asked:
        setting.idle = unpinned.AtRest.begin(processes, setting.cores.rest)
    results = {}
    for part in asked:
        with processes.section():
            results[part] = PARTS[part](setting)
    return results


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
