"""Everything the bench starts, and its end.

Children die with the bench by the kernel's parent-death signal. What detaches itself (FLM's
controller) and temporary folders are told to a keeper process, which ends them should the bench
be killed before it could.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.machine import children_of

PR_SET_PDEATHSIG = 1


class Failed(Exception):
    """Something the bench started did not come up or did not answer."""


class Processes:
    """The owner of all processes and folders of one run; `close` ends every one."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._keeper = subprocess.Popen(
            [sys.executable, "-m", "bench.processes"],
            stdin=subprocess.PIPE,
            start_new_session=True,
            text=True,
        )
        self.folder = Path(tempfile.mkdtemp(prefix="flm-bench-"))
        self.keep("folder", str(self.folder))

    def start(
        self, command: list[str], core: int | None, **environment: str
    ) -> subprocess.Popen[bytes]:
        """Start a child pinned to `core` (None: anywhere); its output goes to a file."""
        number = len(list(self.folder.glob("*.log")))
        log = self.folder / f"{number}-{Path(command[0]).name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=_child(core, os.getpid()),  # noqa: PLW1509 - the bench has no threads
                env={**os.environ, **environment},
            )
        self._stack.callback(_end, process)
        return process

    def last_words(self) -> str:
        """What the child started last wrote last."""
        logs = sorted(self.folder.glob("*.log"), key=lambda log: int(log.name.partition("-")[0]))
        return logs[-1].read_text("utf-8", "replace")[-400:].strip() if logs else ""

    @contextlib.contextmanager
    def section(self) -> Iterator[None]:
        """What is started inside ends with the section."""
        outer, self._stack = self._stack, contextlib.ExitStack()
        try:
            yield
        finally:
            inner, self._stack = self._stack, outer
            inner.close()

    def later(self, work: Callable[[], object]) -> None:
        """Do this when the run ends, last asked first."""
        self._stack.callback(work)

    def start_nginx(self, command: list[str], core: int | None) -> dict[str, int]:
        """Start an nginx; its main process and its worker, which would outlive a killed one."""
        main = self.start(command, core)
        wait_until("nginx", lambda: bool(children_of(main.pid)))
        worker = children_of(main.pid)[0]
        self.keep("pid", str(worker))
        return {"main": main.pid, "worker": worker}

    def keep(self, kind: str, value: str) -> None:
        """Tell the keeper: `pid` is to be killed, `folder` to be removed, if the bench dies."""
        assert self._keeper.stdin is not None
        self._keeper.stdin.write(f"{kind} {value}\n")
        self._keeper.stdin.flush()

    def close(self) -> None:
        """End everything; the keeper last, it removes the folder."""
        try:
            self._stack.close()
        finally:
            assert self._keeper.stdin is not None
            self._keeper.stdin.close()
            self._keeper.wait(10)


def _child(core: int | None, parent: int) -> Callable[[], None]:
    libc = ctypes.CDLL(None)

    def prepare() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        if core is not None:
            os.sched_setaffinity(0, {core})

    return prepare


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_port() -> int:
    """A port of the loopback address that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def wait_until(what: str, ready: Callable[[], bool], seconds: float = 30.0) -> None:
    """Ask `ready` every 20 ms; `Failed` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise Failed(f"{what}: not ready after {seconds:.0f} s")
        time.sleep(0.02)


def _start_times() -> Iterator[tuple[int, str]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                stat = (entry / "stat").read_text()
                yield int(entry.name), stat.rpartition(")")[2].split()[19]


def _keep_watch() -> None:
    """The keeper: read what to end, wait for the bench's end, end it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pids: dict[int, str] = {}
    folders: list[str] = []
    for line in sys.stdin:
        kind, _, value = line.rstrip("\n").partition(" ")
        if kind == "pid":
            pids[int(value)] = dict(_start_times()).get(int(value), "")
        else:
            folders.append(value)
    alive = dict(_start_times())
    for pid, started in pids.items():
        if alive.get(pid) == started:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    _keep_watch()
