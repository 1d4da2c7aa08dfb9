"""The machine under the bench: its tools, its idle cores, what a process used of it."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100

INSTALL = "Debian, Ubuntu: sudo apt install {tools}    Fedora: sudo dnf install {tools}"


class NotMeasurable(Exception):
    """Figures taken now would say more about the machine than about the programs."""


def missing_tools() -> str:
    """What to install before anything can be measured; empty when all is there."""
    if sys.platform != "linux":
        return "The bench pins processes and reads /proc: it runs on Linux only."
    tools = [tool for tool in ("nginx", "wrk") if program(tool) is None]
    if not tools:
        return ""
    names = " ".join(tools)
    return f"{' and '.join(tools)}: not found. Install, then run `make bench` again.\n" + (
        "  " + INSTALL.format(tools=names)
    )


def program(name: str) -> str | None:
    """The path of a program; Debian puts nginx where a user's PATH does not look."""
    path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))
    return shutil.which(name, path=path)


def cores() -> list[int]:
    """The cores this process may use."""
    return sorted(os.sched_getaffinity(0))


def core_times() -> dict[int, tuple[int, int]]:
    """For each core (busy, all) in clock ticks since the machine started."""
    times = {}
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith("cpu") and line[3].isdigit():
            name, *fields = line.split()
            ticks = [int(field) for field in fields[:8]]
            times[int(name[3:])] = (sum(ticks) - ticks[3] - ticks[4], sum(ticks))
    return times


def busy_share(
    before: dict[int, tuple[int, int]], after: dict[int, tuple[int, int]], core: int
) -> float:
    """How busy a core was between two readings, 0 to 1."""
    busy = after[core][0] - before[core][0]
    return busy / max(1, after[core][1] - before[core][1])


def need_idle_cores(seconds: float = 2.0) -> None:
    """Raise `NotMeasurable` unless two cores are idle for over 80 % of `seconds`."""
    before = core_times()
    time.sleep(seconds)
    after = core_times()
    idle = {core: 1 - busy_share(before, after, core) for core in cores()}
    free = [core for core, share in idle.items() if share > 0.8]
    if len(free) < 2:
        shares = ", ".join(f"core {core} {share:.0%}" for core, share in idle.items())
        raise NotMeasurable(
            f"not measurable: fewer than 2 cores were idle over 80 % for {seconds:.0f} s ({shares})"
        )


def allow_many_files() -> int:
    """Open as many files as this process may ask for by itself; how many that is."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


@contextlib.contextmanager
def many_files(needed: int) -> Iterator[None]:
    """The same for a while: what is started before or after has the user's own limit."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    hard = allow_many_files()
    try:
        if hard < needed:
            raise NotMeasurable(f"not measurable: {needed} open files, and only {hard} are allowed")
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def open_files(pid: int) -> int:
    """How many files and sockets a process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def cpu_seconds(pids: list[int]) -> float:
    """User and system time these processes have used, all their threads; 10 ms steps."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / TICK


def pss_megabytes(pids: list[int]) -> float:
    """Proportional set size: private memory, and each process's share of what is shared."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total / 1024


def children_of(pid: int) -> list[int]:
    """The processes below this one, all generations."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [int(child), *children_of(int(child))]
    return found
