"""Starts engines under their guards, and ends them through these. The guard is `guard.py`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from flm.domain.engines import EngineId
from flm.engines.environment import engine_environment
from flm.engines.guard import Orders
from flm.paths import make_private
from flm.ports.engines import LaunchPlan
from flm.ports.processes import MARK, Child, Processes

STOP_SECONDS = 8.0
"""A guard ends everything within 5 s; one that does not is killed, and its engine by its mark."""

SUFFIX = ".launch"

_WORDS_BYTES = 32 << 10
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")


class GuardedEngine:
    """A started engine; implements `flm.control.engine_process.EngineProcess`."""

    def __init__(
        self, child: Child, processes: Processes, marker: str, log: EngineLog, record: Path
    ) -> None:
        self._child = child
        self._processes = processes
        self._marker = marker
        self._log = log
        self._record = record

    @property
    def pid(self) -> int:
        """The guard's process id."""
        return self._child.pid

    async def exited(self) -> int:
        """Wait for its end; the engine's exit code, negative when the guard was killed.

        Nothing of it is left then, whoever ended it.
        """
        code = await self._child.wait()
        if code < 0:
            await asyncio.to_thread(self._processes.end_marked, self._marker)
        self._record.unlink(missing_ok=True)
        return code

    async def stop(self) -> None:
        """Have it ended and wait; nothing happens when it is gone already."""
        self._child.release()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await self._child.wait()
        self._child.kill()
        await self.exited()

    def lines(self, count: int) -> tuple[str, ...]:
        """The last `count` lines that it wrote, safe for a terminal."""
        return tuple(self._log.text().splitlines()[-count:])

    def text(self) -> str:
        """What it wrote since it was started, the last 32 KiB of it."""
        return self._log.text()


class EngineLog:
    """An engine's log file, and what is written to it from now on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._start = path.stat().st_size
        except OSError:
            self._start = 0

    def text(self) -> str:
        """What was written since, the last 32 KiB; colours and other control bytes left out."""
        try:
            with self.path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                start = self._start if size >= self._start else 0  # set aside: a new file
                file.seek(max(start, size - _WORDS_BYTES))
                written = file.read(_WORDS_BYTES)
        except OSError:
            return ""
        text = written.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")
        return "\n".join(
            line for line in _CONTROL.sub("", text).splitlines() if line.strip()
        )  # progress bars write carriage returns: each state a line of its own


class GuardLauncher:
    """Implements `flm.control.engine_process.EngineLauncher`.

    ``logs`` is a directory only this user can write to; ``token`` makes a random text.
    """

    def __init__(
        self,
        processes: Processes,
        logs: Path,
        environ: Mapping[str, str],
        token: Callable[[], str],
        executable: str = sys.executable,
    ) -> None:
        self._processes = processes
        self._logs = logs
        self._environment = engine_environment(environ)
        self._token = token
        self._executable = executable

    async def launch(self, engine: EngineId, plan: LaunchPlan) -> GuardedEngine:
        """Start it; that it runs is all that is known then. Raises `OSError`.

        Must be called from the main thread (Linux's parent-death signal).
        """
        marker = self._token()
        self._logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        log = EngineLog(self._logs / f"{engine}.log")
        orders = Orders(
            arguments=plan.arguments,
            environment={**self._environment, **plan.environment, MARK: marker},
            directory=plan.directory,
            log=str(log.path),
            marker=marker,
            stays=plan.stays,
            stop=plan.stop,
        )
        record = self._logs / f"{engine}{SUFFIX}"
        for private in (record, log.path):  # whatever the umask, and whatever was there before
            make_private(private)
        record.write_text(marker, encoding="ascii")
        child = await self._processes.spawn(
            [self._executable, "-P", "-m", "flm.engines.guard", str(os.getpid())],
            stdin=msgspec.json.encode(orders) + b"\n",
            output=log.path,
        )
        return GuardedEngine(child, self._processes, marker, log, record)

    async def sweep(self) -> None:
        """End what a controller left whose guards were killed with it. Before the first launch."""
        records = await asyncio.to_thread(lambda: list(self._logs.glob(f"*{SUFFIX}")))
        for record in records:
            with contextlib.suppress(OSError):
                marker = record.read_text(encoding="ascii")
                if marker:
                    await asyncio.to_thread(self._processes.end_marked, marker)
                record.unlink(missing_ok=True)
