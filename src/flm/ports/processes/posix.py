"""Linux and macOS."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import resource
import signal
import socket
import stat
import struct
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from flm.ports.processes import children, locks, trees

assert sys.platform != "win32"

SOCKET_NAME = "control.sock"
SHORT_PATH = 100
"""The longest path given to a UNIX socket; `sun_path` holds 104 bytes on macOS, 108 on Linux."""

_MACOS_OPEN_MAX = 10_240
_PR_SET_PDEATHSIG = 1
_CRASHED_AT_ONCE = 127

UNSENT_BYTES = 128 << 10
"""What the kernel holds of an answer that the network does not take yet."""


class PosixProcesses:
    """One of `flm.ports.processes.Processes`. ``runtime_dir``: the user's own short directory."""

    def __init__(self, runtime_dir: Path | None = None) -> None:
        self._runtime_dir = runtime_dir
        self._orphan: int | None = None

    def lock(self, path: Path, *, shared_read: bool = True) -> locks.FlockLock | None:
        """Lock `path`; flock never keeps anybody from reading, so `shared_read` is given."""
        del shared_read
        return locks.take(path)

    def is_locked(self, path: Path) -> bool:
        """Whether somebody holds the lock on `path`."""
        return locks.is_taken(path)

    async def spawn(
        self,
        arguments: Sequence[str],
        *,
        pass_sockets: Sequence[socket.socket] = (),
        stdin: bytes | None = None,
        output: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> children.PosixChild:
        """Start a child in its own session that is to call `harden_child` first."""
        return children.spawn(arguments, pass_sockets, stdin, output, environment)

    def detach(self, arguments: Sequence[str], output: Path) -> int:
        """Start a process that outlives this one and its terminal; its pid."""
        return children.detach(arguments, output)

    def tree(self, log: Path, marker: str) -> trees.PosixTree:
        """What this process, a guard, answers for."""
        return trees.PosixTree(log, marker)

    def end_marked(self, marker: str) -> int:
        """Kill this user's processes that have the mark; how many."""
        from flm.ports.processes import kin

        return kin.end_marked(marker)

    def has_ended(self, pid: int) -> bool:
        """Whether a process is gone; one that this process detached is reaped by the look."""
        with contextlib.suppress(ChildProcessError):
            return os.waitpid(pid, os.WNOHANG)[0] == pid
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return False

    def harden_child(self, parent: int, *, outlives: bool = False) -> bool:
        """Ignore SIGINT and SIGTERM, no core dumps, die with the parent unless it `outlives` it."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self.no_core_dumps()
        if sys.platform == "linux" and not outlives:
            _die_with_parent()
        return os.getppid() == parent

    def no_core_dumps(self) -> None:
        """Keep secrets in memory out of core files."""
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    def raise_file_limit(self) -> int:
        """Raise the soft limit of open files to the hard one; the limit in force."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = hard
        if sys.platform == "darwin":  # its hard limit may be infinite, and is not given
            wanted = _MACOS_OPEN_MAX if hard < 0 else min(hard, _MACOS_OPEN_MAX)
        if wanted > soft or wanted < 0:
            with contextlib.suppress(ValueError, OSError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return resource.getrlimit(resource.RLIMIT_NOFILE)[0]

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        """uvloop where there is one, else asyncio's own."""
        try:
            import uvloop
        except ImportError:
            return asyncio.new_event_loop()
        loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
        return loop

    def channel(self) -> tuple[socket.socket, socket.socket]:
        """A connected pair for controller and gateway."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        return ours, theirs

    def listen(self, host: str, port: int, backlog: int) -> socket.socket:
        """A bound, listening, non-blocking TCP socket. Raises `OSError`."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.socket(family, socket.SOCK_STREAM)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            _hold_little(listening)
            listening.bind((host, port))
            listening.listen(backlog)
        except OSError:
            listening.close()
            raise
        listening.setblocking(False)
        return listening

    def control_address(self, data: Path) -> str:
        """Where the control socket of this data directory goes.

        The data directory itself while the path is short enough, else a directory of our own
        under the runtime or the temporary one. Raises `PermissionError` when that is not ours.
        """
        near = data / SOCKET_NAME
        if len(os.fsencode(near)) < SHORT_PATH:
            return str(near)
        digest = hashlib.sha256(os.fsencode(data)).hexdigest()[:16]
        for above in (self._runtime_dir, Path(tempfile.gettempdir()), Path("/tmp")):  # noqa: S108
            if above is None:
                continue
            folder = above / f"flm-{os.getuid()}-{digest}"
            if len(os.fsencode(folder / SOCKET_NAME)) < SHORT_PATH and above.is_dir():
                _own_directory(folder)
                return str(folder / SOCKET_NAME)
        raise PermissionError(f"no directory has a path short enough for a socket: {near}")

    def control_listener(self, address: str) -> tuple[socket.socket, str]:
        """A listening control socket for this user only, and the address it got.

        Call it only while holding the data directory's lock: a socket left behind is replaced.
        """
        path = Path(address)
        path.unlink(missing_ok=True)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listening.bind(address)
            path.chmod(0o600)  # before `listen`: until then nobody can connect
            listening.listen(64)
        except OSError:
            listening.close()
            raise
        listening.setblocking(False)
        return listening, address

    def control_connect(self, address: str, seconds: float) -> socket.socket:
        """A blocking connection to a control socket with that deadline. Raises `OSError`."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(seconds)
        try:
            connection.connect(address)
        except OSError:
            connection.close()
            raise
        return connection

    def is_same_user(self, connection: socket.socket) -> bool:
        """Whether the peer of a control connection is this user."""
        return _peer_uid(connection) == os.geteuid()

    def process_name(self, pid: int) -> str | None:
        """A process's name, None when it cannot be known."""
        from flm.ports.processes import holders

        return holders.process_name(pid)

    def holder_of_port(self, host: str, port: int) -> tuple[int, str] | None:
        """Pid and name of the program that listens there, None when it cannot be known."""
        from flm.ports.processes import holders

        return holders.holder_of_port(host, port)

    def reap_orphans(self) -> None:
        """As PID 1: collect children that are none of ours. Call it about once a second.

        An ended child that is still there at the next call has nobody who waits for it.
        """
        if os.getpid() == 1:
            while (ended := _ended_child()) is not None and ended == self._orphan:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(ended, os.WNOHANG)
            self._orphan = ended


def _ended_child() -> int | None:
    """The pid of a child that has ended and was not waited for, left as it is."""
    if sys.platform == "linux":
        with contextlib.suppress(ChildProcessError):
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            return None if ended is None else ended.si_pid
    return None


def _die_with_parent() -> None:
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        os._exit(_CRASHED_AT_ONCE)


def _own_directory(folder: Path) -> None:
    """Make `folder` with mode 0700, or see that it is ours: others may write above it."""
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise PermissionError(f"{folder} is not a directory of ours with mode 0700")


def _peer_uid(connection: socket.socket) -> int:
    if sys.platform == "darwin":
        # struct xucred { u_int version; uid_t uid; short ngroups; gid_t groups[16]; }
        sol_local, local_peercred = 0, 1
        credentials = connection.getsockopt(sol_local, local_peercred, 76)
        version, uid = struct.unpack_from("=II", credentials)
        if version != 0:
            raise PermissionError("an unknown form of peer credentials")
    else:
        credentials = connection.getsockopt(
            socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")
        )
        _, uid, _ = struct.unpack("3i", credentials)
    return int(uid)


def _hold_little(listening: socket.socket) -> None:
    """Have the kernel take little for clients that do not read: it would take 4 MB for each, and
    they would seem to have it. What they accept inherits this; what is on its way is not limited.
    """
    with contextlib.suppress(OSError):  # an old kernel does without
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
