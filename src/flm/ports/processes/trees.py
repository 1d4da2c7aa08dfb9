"""A guard's processes on POSIX: one thread that hears stdin, its children's ends and their words.

On Linux the guard is the subreaper of everything below it: what leaves its group, its session
and its parent comes back to the guard as a child, so that "no child left" means nothing is left.
Elsewhere what went astray is known by its mark.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from flm.ports.processes.engine_log import BoundedLog

assert sys.platform != "win32"

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_STDIN = 0
_LOOK_SECONDS = 0.02
_PIECE = 1 << 16


class PosixTree:
    """One of `flm.ports.processes.Tree`. Make it in the main thread, once in a process."""

    def __init__(self, log: Path, marker: str) -> None:
        self._log = BoundedLog(log)
        self._marker = marker
        self._started: dict[int, int | None] = {}
        self._stopped = False
        self._childless = True
        self._reaps_all = sys.platform == "linux" and _prctl(_PR_SET_CHILD_SUBREAPER, 1)
        self._selector = selectors.PollSelector()
        self._woken, waker = socket.socketpair()
        self._woken.setblocking(False)
        waker.setblocking(False)
        self._waker = waker
        signal.signal(signal.SIGCHLD, _nothing)
        signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        self._selector.register(self._woken, selectors.EVENT_READ, self._drain_wakes)
        self._selector.register(_STDIN, selectors.EVENT_READ, self._hear_stdin)

    def start(
        self, arguments: Sequence[str], environment: Mapping[str, str], directory: str | None
    ) -> int:
        """Start a program in a session of its own; its pid. It dies with this process."""
        words, theirs = os.pipe()
        try:
            process = subprocess.Popen(  # noqa: S603 - what the user had installed, never a shell
                list(arguments),
                stdin=subprocess.DEVNULL,
                stdout=theirs,
                stderr=theirs,
                env=dict(environment),
                cwd=directory,
                start_new_session=True,
                preexec_fn=_before_the_program,  # noqa: PLW1509 - this process has one thread
            )
        except OSError:
            os.close(words)
            raise
        finally:
            os.close(theirs)
        process.returncode = 0  # we reap it ourselves, with all the others
        self._started[process.pid] = None
        self._childless = False
        self._selector.register(words, selectors.EVENT_READ, self._hear_words)
        return process.pid

    def wait(self, pid: int, seconds: float | None, *, through_stop: bool = False) -> int | None:
        """Its exit code; None when it runs on after `seconds` or stdin has ended."""
        self._turn_until(
            lambda: self._started[pid] is not None or (self._stopped and not through_stop), seconds
        )
        return self._started[pid]

    def until_stopped(self) -> None:
        """Wait for the end of stdin."""
        self._turn_until(lambda: self._stopped, None)

    def ask(self, pid: int, *, firmly: bool = False) -> None:
        """SIGINT or SIGTERM to its group."""
        if self._started[pid] is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGTERM if firmly else signal.SIGINT)

    def end(self, seconds: float) -> None:
        """SIGKILL to everything below and everything marked, until there is nothing."""
        from flm.ports.processes import kin

        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            self._reap()
            if self._reaps_all and self._childless:
                break
            left = kin.below(os.getpid()) | (set() if self._reaps_all else kin.marked(self._marker))
            if not left:
                break
            kin.end(left)
            self._turn(_LOOK_SECONDS)
        self._turn(0.0)  # their last words
        self._log.close()

    def say(self, line: str) -> None:
        """Write a line into the log."""
        self._log.write(line.encode() + b"\n")

    def _turn_until(self, fact: Callable[[], bool], seconds: float | None) -> None:
        ends = None if seconds is None else time.monotonic() + seconds
        while not fact():
            left = None if ends is None else ends - time.monotonic()
            if left is not None and left <= 0:
                return
            self._turn(left)

    def _turn(self, seconds: float | None) -> None:
        for key, _ in self._selector.select(seconds):
            key.data(key.fd)
        self._reap()

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                self._childless = True
                return
            if pid == 0:
                self._childless = False
                return
            if pid in self._started:
                self._started[pid] = os.waitstatus_to_exitcode(status)

    def _drain_wakes(self, _: int) -> None:
        with contextlib.suppress(BlockingIOError):
            self._woken.recv(_PIECE)

    def _hear_stdin(self, descriptor: int) -> None:
        if not os.read(descriptor, _PIECE):
            self._stopped = True
            self._selector.unregister(descriptor)

    def _hear_words(self, descriptor: int) -> None:
        words = os.read(descriptor, _PIECE)
        if words:
            self._log.write(words)
        else:
            self._selector.unregister(descriptor)
            os.close(descriptor)


def _nothing(number: int, frame: object) -> None:
    """SIGCHLD only has to wake the selector."""


def _before_the_program() -> None:
    """In the child: mind the signals that the guard ignores, and die with the guard."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    if sys.platform == "linux":
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _prctl(option: int, value: int) -> bool:
    import ctypes

    return int(ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)) == 0
