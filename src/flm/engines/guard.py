"""The guard of an engine that FLM started: `python -P -m flm.engines.guard PARENT_PID`.

Its orders come as one line of JSON on stdin. It starts the engine, and when stdin ends, because
the controller asked it to stop or is gone, however it went, it ends the engine and everything
that came of it, wherever that hid, within 5 s. It ends by itself when the engine does, with the
engine's exit code. It never dies before what it guards, unless it is killed with SIGKILL.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from flm.ports.processes import Tree, current

CANNOT_START = 127
"""The exit code when the engine's program cannot be run, as a shell's."""

POLITE_SECONDS = 1.5
FIRM_SECONDS = 1.0
STOP_SECONDS = 2.5
END_SECONDS = 2.0


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """What the controller wants guarded. ``environment`` is the engine's whole environment.

    ``stays``: the started program is the engine; else it ends at once, and ``stop`` is the
    program that ends what it started. ``marker``: the value of `MARK` in ``environment``.
    """

    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    directory: str | None
    log: str
    marker: str
    stays: bool
    stop: tuple[str, ...]


def main(arguments: list[str]) -> int:
    """Guard until the engine has ended or stdin has."""
    processes = current()
    if not processes.harden_child(int(arguments[0]), outlives=True):
        return 1
    line = sys.stdin.buffer.readline()
    if not line.endswith(b"\n"):
        return 1  # the controller went before it had said everything
    orders = msgspec.json.decode(line, type=Orders)
    return guard(processes.tree(Path(orders.log), orders.marker), orders)


def guard(tree: Tree, orders: Orders) -> int:
    """Start, wait, end; the exit code: the engine's own, 0 when it was asked to stop."""
    try:
        pid = tree.start(orders.arguments, orders.environment, orders.directory)
    except OSError as error:
        tree.say(f"{orders.arguments[0]} cannot be run: {error.strerror or error}")
        tree.end(END_SECONDS)
        return CANNOT_START
    code = tree.wait(pid, None)
    if code is None:
        _ask_to_leave(tree, pid)
        code = 0
    elif code == 0 and not orders.stays:
        tree.until_stopped()
    if orders.stop:
        _run_stop(tree, orders)
    tree.end(END_SECONDS)
    return code if code >= 0 else 128 - code


def _ask_to_leave(tree: Tree, pid: int) -> None:
    tree.ask(pid)
    if tree.wait(pid, POLITE_SECONDS, through_stop=True) is None:
        tree.ask(pid, firmly=True)
        tree.wait(pid, FIRM_SECONDS, through_stop=True)


def _run_stop(tree: Tree, orders: Orders) -> None:
    try:
        pid = tree.start(orders.stop, orders.environment, orders.directory)
    except OSError as error:
        tree.say(f"{orders.stop[0]} cannot be run: {error.strerror or error}")
        return
    tree.wait(pid, STOP_SECONDS, through_stop=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
