"""What differs between Linux, macOS and Windows, and nowhere else: processes, sockets, locks.

`current()` gives the implementation for this platform. Standard library only: the gateway
imports it.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

MARK = "FLM_ENGINE_LAUNCH"
"""The variable that marks all processes of one launch of an engine."""


class Lock(Protocol):
    """A file lock held until it is released or the process ends, however it ends."""

    def write(self, data: bytes) -> None:
        """Replace the file's content; readers see the old or the new, never half."""
        ...

    def release(self) -> None:
        """Let others have it."""
        ...


class Child(Protocol):
    """A child process in its own session that ignores SIGINT and SIGTERM."""

    @property
    def pid(self) -> int:
        """Its process id, and that of its group."""
        ...

    async def wait(self) -> int:
        """Wait for its end; the exit code, negative for a signal."""
        ...

    def kill(self) -> None:
        """End it (and its process group) at once; nothing happens when it is gone."""
        ...

    def release(self) -> None:
        """Close the pipe to its stdin, which asks a guard to end what it started, and leave."""
        ...


class Tree(Protocol):
    """What a guard starts, and everything that comes of it. Blocking, for one thread.

    Made for the life of a process that has its orders and waits on its stdin: the end of stdin
    tells it to stop. What is started writes into a log file of bounded length.
    """

    def start(
        self, arguments: Sequence[str], environment: Mapping[str, str], directory: str | None
    ) -> int:
        """Start a program in a session of its own, with that environment; its pid.

        It minds the signals that this process ignores. Raises `OSError`.
        """
        ...

    def wait(self, pid: int, seconds: float | None, *, through_stop: bool = False) -> int | None:
        """Its exit code, negative for a signal. None when it runs on after `seconds`, or when
        stdin has ended, which those who wait ``through_stop`` do not mind."""
        ...

    def until_stopped(self) -> None:
        """Wait for the end of stdin."""
        ...

    def ask(self, pid: int, *, firmly: bool = False) -> None:
        """Ask a program and its group to leave: as Ctrl-C does, or as a service manager does."""
        ...

    def end(self, seconds: float) -> None:
        """Kill everything that is left of it, wherever it went; returns when nothing is."""
        ...

    def say(self, line: str) -> None:
        """Write a line into the log."""
        ...


class Processes(Protocol):
    """One platform's ways."""

    def lock(self, path: Path, *, shared_read: bool = True) -> Lock | None:
        """Lock `path` (made with mode 0600) for life; None when another holds it."""
        ...

    def is_locked(self, path: Path) -> bool:
        """Whether somebody holds the lock on `path`; never takes it for longer than the look."""
        ...

    async def spawn(
        self,
        arguments: Sequence[str],
        *,
        pass_sockets: Sequence[socket.socket] = (),
        stdin: bytes | None = None,
        output: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Child:
        """Start a child that dies with this process; call it from the main thread only.

        ``pass_sockets`` keep their descriptors in the child; ``stdin`` is written to a pipe that
        stays open for the child's life (its end of file tells the child that we are gone);
        ``output`` is appended to with stdout and stderr (None: they are dropped).
        """
        ...

    def detach(self, arguments: Sequence[str], output: Path) -> int:
        """Start a process that outlives this one and its terminal; its pid."""
        ...

    def tree(self, log: Path, marker: str) -> Tree:
        """What this process, a guard, answers for. ``marker``: see `end_marked`."""
        ...

    def end_marked(self, marker: str) -> int:
        """Kill this user's processes that have the variable `MARK` of that value; how many.

        It is what a guard's programs are known by when the guard itself was killed.
        """
        ...

    def has_ended(self, pid: int) -> bool:
        """Whether a process is gone; one that this process detached is reaped by the look."""
        ...

    def harden_child(self, parent: int, *, outlives: bool = False) -> bool:
        """In a child, first: ignore SIGINT, SIGTERM and SIGHUP, no core dumps, die with the parent.

        A child that ``outlives`` its parent for a moment (the gateway, to let responses finish)
        is not killed with it and must watch its channel itself. False when `parent` is gone
        already (its pid is no longer our parent's): leave then.
        """
        ...

    def no_core_dumps(self) -> None:
        """Keep secrets in memory out of core files."""
        ...

    def reap_orphans(self) -> None:
        """As PID 1: collect ended children that nobody waits for. Call it about once a second."""
        ...

    def raise_file_limit(self) -> int:
        """Raise the soft limit of open files to the hard one; the limit in force."""
        ...

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        """uvloop where there is one, else asyncio's own."""
        ...

    def channel(self) -> tuple[socket.socket, socket.socket]:
        """A connected pair for controller and gateway, both inheritable when asked to be."""
        ...

    def listen(self, host: str, port: int, backlog: int) -> socket.socket:
        """A bound, listening, non-blocking TCP socket (SO_REUSEADDR; Windows: exclusive)."""
        ...

    def control_address(self, data: Path) -> str:
        """Where the control socket of this data directory goes: a path short enough, 0700 above."""
        ...

    def control_listener(self, address: str) -> tuple[socket.socket, str]:
        """A listening, non-blocking control socket for this user only, and the address it got.

        Call it only while holding the data directory's lock: a socket left behind is replaced.
        """
        ...

    def control_connect(self, address: str, seconds: float) -> socket.socket:
        """A blocking connection to a control socket with that deadline. Raises `OSError`."""
        ...

    def is_same_user(self, connection: socket.socket) -> bool:
        """Whether the peer of a control connection is this user (Windows: the token tells)."""
        ...

    def process_name(self, pid: int) -> str | None:
        """A process's name, None when it cannot be known."""
        ...

    def holder_of_port(self, host: str, port: int) -> tuple[int, str] | None:
        """Pid and name of the program that listens there, None when it cannot be known."""
        ...


def current(runtime_dir: Path | None = None) -> Processes:
    """The implementation for this platform. ``runtime_dir``: $XDG_RUNTIME_DIR, if there is one."""
    if sys.platform == "win32":
        from flm.ports.processes.windows import WindowsProcesses

        return WindowsProcesses()
    else:  # noqa: RET505 - mypy follows the branches of a platform check, not early returns
        from flm.ports.processes.posix import PosixProcesses

        return PosixProcesses(runtime_dir)
