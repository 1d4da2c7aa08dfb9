"""Windows: type-checked, never run by us; the README says so.

What POSIX does with sessions and signals, a job object does here: children are put into a job
that ends them when its last handle, ours, is closed, however we end. There is no
SO_REUSEADDR in the POSIX sense; a listening socket is exclusive.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from ctypes import wintypes
from pathlib import Path

assert sys.platform == "win32"

import msvcrt  # noqa: E402 - exists on Windows only

from flm.ports.processes.windows_trees import WindowsTree  # noqa: E402

_LOCK_AT = 1 << 30
"""The byte that is locked: far behind the content, which stays readable."""

_JOB_LIMITS = 9
_KILL_ON_JOB_CLOSE = 0x2000
_BREAKAWAY_OK = 0x0800
_STILL_ACTIVE = 259
_QUERY_LIMITED = 0x1000
_SEPARATE = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
_BREAKAWAY = 0x01000000


class _BasicLimits(ctypes.Structure):
    _fields_ = (
        ("per_process_time", ctypes.c_int64),
        ("per_job_time", ctypes.c_int64),
        ("flags", wintypes.DWORD),
        ("minimum_working_set", ctypes.c_size_t),
        ("maximum_working_set", ctypes.c_size_t),
        ("active_processes", wintypes.DWORD),
        ("affinity", ctypes.c_size_t),
        ("priority", wintypes.DWORD),
        ("scheduling", wintypes.DWORD),
    )


class _ExtendedLimits(ctypes.Structure):
    _fields_ = (
        ("basic", _BasicLimits),
        ("io", ctypes.c_uint64 * 6),
        ("process_memory", ctypes.c_size_t),
        ("job_memory", ctypes.c_size_t),
        ("peak_process_memory", ctypes.c_size_t),
        ("peak_job_memory", ctypes.c_size_t),
    )


class WindowsLock:
    """A locked byte of an open file; the system drops it when the process ends."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    def write(self, data: bytes) -> None:
        """Replace the content in one write, padded so that an older, longer one leaves no tail."""
        if self._descriptor is not None:
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            os.write(self._descriptor, data.ljust(4096))

    def release(self) -> None:
        """Let others have it; a second call does nothing."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class WindowsChild:
    """A child in our job. Ended with it, and by `kill`."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._waiting = asyncio.get_running_loop().run_in_executor(None, process.wait)

    @property
    def pid(self) -> int:
        """The child's pid."""
        return self._process.pid

    async def wait(self) -> int:
        """Wait for its end; the exit code."""
        return await asyncio.shield(self._waiting)

    def kill(self) -> None:
        """End it at once; nothing happens when it is gone."""
        with contextlib.suppress(OSError):
            self._process.kill()

    def release(self) -> None:
        """Close the pipe to its stdin."""
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()


class WindowsProcesses:
    """One of `flm.ports.processes.Processes`."""

    def __init__(self) -> None:
        self._job: int | None = None

    def lock(self, path: Path, *, shared_read: bool = True) -> WindowsLock | None:
        """Lock a byte behind the content (`shared_read`) or the first one of it."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_BINARY | os.O_NOINHERIT, 0o600)
        os.lseek(descriptor, _LOCK_AT if shared_read else 0, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            os.close(descriptor)
            return None
        return WindowsLock(descriptor)

    def is_locked(self, path: Path) -> bool:
        """Whether somebody holds the lock on `path`; a missing file is free."""
        if not path.exists():
            return False
        taken = self.lock(path)
        if taken is None:
            return True
        taken.release()
        return False

    async def spawn(
        self,
        arguments: Sequence[str],
        *,
        pass_sockets: Sequence[socket.socket] = (),
        stdin: bytes | None = None,
        output: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> WindowsChild:
        """Start a child in our job; its sockets are inheritable handles with the same numbers."""
        startup = subprocess.STARTUPINFO()
        handles = [passed.fileno() for passed in pass_sockets]
        for handle in handles:
            os.set_handle_inheritable(handle, True)
        startup.lpAttributeList = {"handle_list": handles}
        out = open(output, "ab", 0) if output is not None else None  # noqa: ASYNC230, PTH123, SIM115
        try:
            process = subprocess.Popen(  # noqa: ASYNC220, S603 - returns when it is started
                list(arguments),
                stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
                stdout=subprocess.DEVNULL if out is None else out,
                stderr=subprocess.DEVNULL if out is None else out,
                env=None if environment is None else dict(environment),
                creationflags=_SEPARATE,
                startupinfo=startup,
                bufsize=0,
            )
        finally:
            for handle in handles:
                os.set_handle_inheritable(handle, False)
            if out is not None:
                out.close()
        try:
            # a handle that is private, and no other way to it
            self._put_into_job(int(getattr(process, "_handle")))  # noqa: B009
        except OSError:
            process.kill()
            raise
        if stdin and process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.write(stdin)
        return WindowsChild(process)

    def _put_into_job(self, handle: int, *, breakaway: bool = True) -> None:
        kernel = ctypes.WinDLL("kernel32", use_last_error=True)
        kernel.CreateJobObjectW.restype = wintypes.HANDLE
        if self._job is None:
            self._job = int(kernel.CreateJobObjectW(None, None) or 0)
            limits = _ExtendedLimits()
            limits.basic.flags = _KILL_ON_JOB_CLOSE | (_BREAKAWAY_OK if breakaway else 0)
            kernel.SetInformationJobObject(
                wintypes.HANDLE(self._job),
                _JOB_LIMITS,
                ctypes.byref(limits),
                ctypes.sizeof(limits),
            )
        if not kernel.AssignProcessToJobObject(wintypes.HANDLE(self._job), wintypes.HANDLE(handle)):
            raise ctypes.WinError(ctypes.get_last_error())

    def detach(self, arguments: Sequence[str], output: Path) -> int:
        """Start a process that outlives this one and its console; its pid."""
        with open(output, "ab", 0) as out:  # noqa: PTH123
            process = subprocess.Popen(  # noqa: S603 - our own command lines, never a shell
                list(arguments),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                creationflags=_SEPARATE | _BREAKAWAY,
            )
        process.returncode = 0  # nobody waits for it: that it runs on is meant
        return process.pid

    def tree(self, log: Path, marker: str) -> WindowsTree:
        """What this process, a guard, answers for: a job that ends with it."""
        self._put_into_job(int(_current_process()), breakaway=False)
        return WindowsTree(log, marker)

    def end_marked(self, marker: str) -> int:
        """Kill this user's processes that have the mark; how many."""
        from flm.ports.processes import kin

        return kin.end_marked(marker)

    def has_ended(self, pid: int) -> bool:
        """Whether a process is gone."""
        kernel = ctypes.WinDLL("kernel32", use_last_error=True)
        kernel.OpenProcess.restype = wintypes.HANDLE
        handle = kernel.OpenProcess(_QUERY_LIMITED, False, pid)
        if not handle:
            return True
        code = wintypes.DWORD()
        kernel.GetExitCodeProcess(wintypes.HANDLE(handle), ctypes.byref(code))
        kernel.CloseHandle(wintypes.HANDLE(handle))
        return code.value != _STILL_ACTIVE

    def harden_child(self, parent: int, *, outlives: bool = False) -> bool:
        """Ignore Ctrl-C and Ctrl-Break; the job ends us with the parent, whatever `outlives`."""
        del outlives
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGBREAK, signal.SIG_IGN)
        return os.getppid() == parent

    def no_core_dumps(self) -> None:
        """No error box and no dump when we crash (SetErrorMode's first two flags)."""
        ctypes.WinDLL("kernel32").SetErrorMode(0x0001 | 0x0002)

    def reap_orphans(self) -> None:
        """Nothing: Windows leaves no ended children behind."""

    def raise_file_limit(self) -> int:
        """The number of sockets a Windows event loop of asyncio is fit for."""
        return 8192

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        """The selector loop: the proactor cannot adopt inherited sockets."""
        return asyncio.SelectorEventLoop()

    def channel(self) -> tuple[socket.socket, socket.socket]:
        """A connected pair over loopback."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        return ours, theirs

    def listen(self, host: str, port: int, backlog: int) -> socket.socket:
        """A bound, listening, non-blocking TCP socket nobody else can bind. Raises `OSError`."""
        listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
            listening.bind((host, port))
            listening.listen(backlog)
        except OSError:
            listening.close()
            raise
        listening.setblocking(False)
        return listening

    def control_address(self, data: Path) -> str:
        """A loopback port the system picks; the lock file tells which, and the token."""
        del data
        return "127.0.0.1:0"

    def control_listener(self, address: str) -> tuple[socket.socket, str]:
        """A listening control socket, and `host:port`."""
        host, _, port = address.rpartition(":")
        listening = self.listen(host, int(port), 64)
        return listening, f"{host}:{listening.getsockname()[1]}"

    def control_connect(self, address: str, seconds: float) -> socket.socket:
        """A blocking connection to a control socket with that deadline. Raises `OSError`."""
        host, _, port = address.rpartition(":")
        return socket.create_connection((host, int(port)), seconds)

    def is_same_user(self, connection: socket.socket) -> bool:
        """True: on Windows the token in the lock file, which only the user can read, tells."""
        del connection
        return True

    def process_name(self, pid: int) -> str | None:
        """A process's name, None when it cannot be known."""
        from flm.ports.processes import holders

        return holders.process_name(pid)

    def holder_of_port(self, host: str, port: int) -> tuple[int, str] | None:
        """Pid and name of the program that listens there, None when it cannot be known."""
        from flm.ports.processes import holders

        return holders.holder_of_port(host, port)


def _current_process() -> int:
    kernel = ctypes.WinDLL("kernel32", use_last_error=True)
    kernel.GetCurrentProcess.restype = wintypes.HANDLE
    return int(kernel.GetCurrentProcess() or -1)
