"""A guard's processes on Windows: type-checked, never run by us; the README says so.

The guard is in a job of its own that lets nobody break away and ends all its members when the
guard, who has the only handle, is gone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from flm.ports.processes.engine_log import BoundedLog

assert sys.platform == "win32"

_SEPARATE = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
_LOOK_SECONDS = 0.05
_PIECE = 1 << 16


class WindowsTree:
    """One of `flm.ports.processes.Tree`."""

    def __init__(self, log: Path, marker: str) -> None:
        self._log = BoundedLog(log)
        self._marker = marker
        self._started: dict[int, subprocess.Popen[bytes]] = {}
        self._stopped = threading.Event()
        threading.Thread(target=self._hear_stdin, name="stdin", daemon=True).start()

    def start(
        self, arguments: Sequence[str], environment: Mapping[str, str], directory: str | None
    ) -> int:
        """Start a program in our job; its pid."""
        process = subprocess.Popen(  # noqa: S603 - what the user had installed, never a shell
            list(arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            cwd=directory,
            creationflags=_SEPARATE,
            bufsize=0,
        )
        self._started[process.pid] = process
        assert process.stdout is not None
        threading.Thread(
            target=self._hear_words, args=(process.stdout,), name="words", daemon=True
        ).start()
        return process.pid

    def wait(self, pid: int, seconds: float | None, *, through_stop: bool = False) -> int | None:
        """Its exit code; None when it runs on after `seconds` or stdin has ended."""
        process = self._started[pid]
        left = seconds
        while left is None or left > 0:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.wait(_LOOK_SECONDS)
            if self._stopped.is_set() and not through_stop:
                return None
            left = None if left is None else left - _LOOK_SECONDS
        return process.poll()

    def until_stopped(self) -> None:
        """Wait for the end of stdin."""
        self._stopped.wait()

    def ask(self, pid: int, *, firmly: bool = False) -> None:
        """Ctrl-Break to its group, where it shares our console."""
        del firmly
        with contextlib.suppress(OSError):
            os.kill(pid, signal.CTRL_BREAK_EVENT)

    def end(self, seconds: float) -> None:
        """End everything below and everything marked; the job ends what is missed."""
        del seconds
        from flm.ports.processes import kin

        kin.end(kin.below(os.getpid()) | kin.marked(self._marker))

    def say(self, line: str) -> None:
        """Write a line into the log."""
        self._log.write(line.encode() + b"\n")

    def _hear_stdin(self) -> None:
        while os.read(0, _PIECE):
            pass
        self._stopped.set()

    def _hear_words(self, words: BinaryIO) -> None:
        while piece := words.read(_PIECE):
            self._log.write(piece)
