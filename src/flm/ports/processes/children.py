"""Child processes on POSIX: in their own session, watched, and ended with their whole group."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

assert sys.platform != "win32"

LOG_BYTES = 5 << 20
"""An output file that has grown past this is set aside as `<name>.1` before it is opened."""


class PosixChild:
    """A child of this process. Whoever awaits `wait` sees its end; nobody needs to.

    On Linux the child is reaped only after its process group was ended: until then its pid, which
    is the group's id, cannot belong to anybody else.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._ended = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._pidfd = _pidfd(process.pid)
        if self._pidfd is not None:
            self._loop.add_reader(self._pidfd, self._reap)
        else:
            self._loop.call_later(0.02, self._look)

    @property
    def pid(self) -> int:
        """The child's pid, which is also its process group and session."""
        return self._process.pid

    async def wait(self) -> int:
        """Wait for its end; the exit code, negative for a signal."""
        await self._ended.wait()
        return self._process.returncode

    def kill(self) -> None:
        """End it and its process group at once; nothing happens when it is gone."""
        if not self._ended.is_set():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def release(self) -> None:
        """Close the pipe to its stdin."""
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()

    def _look(self) -> None:
        # Without a pidfd (macOS) the loop looks: a waiting thread would compete for the GIL.
        if self._process.poll() is None:
            self._loop.call_later(0.05, self._look)
        else:
            self._reap()

    def _reap(self) -> None:
        if self._pidfd is not None:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = None
        self.kill()
        self._process.wait()
        self.release()
        self._ended.set()


def _pidfd(pid: int) -> int | None:
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # a kernel or a sandbox without it
            return os.pidfd_open(pid)
    return None


def spawn(
    arguments: Sequence[str],
    pass_sockets: Sequence[socket.socket],
    stdin: bytes | None,
    output: Path | None,
    environment: Mapping[str, str] | None,
) -> PosixChild:
    """Start a child in a session of its own; see `flm.ports.processes.Processes.spawn`."""
    with contextlib.ExitStack() as files:
        out = files.enter_context(open_output(output)) if output is not None else None
        process = subprocess.Popen(  # noqa: S603 - our own command lines, never a shell
            list(arguments),
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.DEVNULL if out is None else out,
            stderr=subprocess.DEVNULL if out is None else out,
            pass_fds=[passed.fileno() for passed in pass_sockets],
            env=None if environment is None else dict(environment),
            start_new_session=True,
            bufsize=0,
        )
    if stdin and process.stdin is not None:
        with contextlib.suppress(BrokenPipeError):  # it left already; `wait` will tell
            process.stdin.write(stdin)
    return PosixChild(process)


def detach(arguments: Sequence[str], output: Path) -> int:
    """Start a process that outlives this one and its terminal; its pid."""
    with open_output(output) as out:
        return os.posix_spawn(
            arguments[0],
            list(arguments),
            os.environb,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, out.fileno(), 1),
                (os.POSIX_SPAWN_DUP2, out.fileno(), 2),
            ],
            setsid=True,
        )


def open_output(path: Path) -> BinaryIO:
    """`path` for appending, mode 0600; a file that has grown past `LOG_BYTES` is set aside."""
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size > LOG_BYTES:
            path.replace(path.with_name(f"{path.name}.1"))
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab", 0)
