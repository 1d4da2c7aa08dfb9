"""Who came of whom: asked only when something is to be ended, so psutil is loaded only then."""

from __future__ import annotations

from collections.abc import Iterable

from flm.ports.processes import MARK

_ROUNDS = 50


def below(pid: int) -> set[int]:
    """The pids of everything that descends from `pid` and whose parents live."""
    import psutil

    try:
        return {child.pid for child in psutil.Process(pid).children(recursive=True)}
    except psutil.Error:
        return set()


def marked(marker: str) -> set[int]:
    """The pids of this user's processes that have the variable `MARK` of that value.

    Programs keep it whatever session, group or parent they take. Our own pid is never among them.
    """
    import psutil

    found: set[int] = set()
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == marker and process.pid != psutil.Process().pid:
                found.add(process.pid)
        except (psutil.Error, OSError):  # another user's, or gone meanwhile
            continue
    return found


def end_marked(marker: str) -> int:
    """Kill all that have the mark, those they start meanwhile too; how many there were."""
    ended = 0
    for _ in range(_ROUNDS):
        left = end(marked(marker))
        ended += left
        if not left:
            break
    return ended


def end(pids: Iterable[int]) -> int:
    """Kill them; how many there were to kill."""
    import psutil

    ended = 0
    for pid in pids:
        try:
            psutil.Process(pid).kill()
        except psutil.Error:
            continue
        ended += 1
    return ended
