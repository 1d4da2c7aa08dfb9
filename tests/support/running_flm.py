"""A started `flm`: real processes over a data directory of the test's own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from flm.app import Services, open_services

FLM = (sys.executable, "-P", "-m", "flm")
PATIENCE = 30.0


def until(
    fact: Callable[[], Any], what: str = "", seconds: float = PATIENCE, pause: float = 0.01
) -> Any:
    """What `fact` gives once that is true; looks again until the deadline, then fails."""
    deadline = time.monotonic() + seconds
    while not (found := fact()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what or fact}"
        time.sleep(pause)
    return found


def alive(pid: int) -> bool:
    """Whether a process of that pid runs; one that only waits to be reaped does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@contextmanager
def started(command: Sequence[str | Path], **how: Any) -> Iterator[subprocess.Popen[Any]]:
    """A process that has ended when the block is left: by itself in time, else by a signal.

    A block that fails waits for nothing: its own failure is what the test tells.
    """
    with subprocess.Popen(command, **how) as process:
        try:
            yield process
            process.wait(PATIENCE)
        finally:
            process.kill()


class Ran(NamedTuple):
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """The data of the one JSON document on stdout; the command went well."""
        assert self.code == 0, self
        document = json.loads(self.out)
        assert document["version"] == "1.0"
        return document["data"]

    @property
    def error(self) -> dict[str, str]:
        """The error on stderr, as a program reads it; stdout is empty."""
        assert self.code != 0, self
        assert self.out == "", self
        error: dict[str, str] = json.loads(self.err.splitlines()[-1])["error"]
        return error


class Flm:
    """A data directory, the `flm` command for it, and all processes that come of it.

    ``environ`` is what the commands have besides this process's variables.
    """

    def __init__(self, folder: Path, environ: Mapping[str, str] | None = None) -> None:
        self.data = folder
        self.environ = {**os.environ, "LANG": "C.UTF-8", **(environ or {})}

    # Commands.

    def command(self, *argv: str) -> list[str]:
        """The command line, told to answer in JSON; what comes after -- stays the last."""
        at = argv.index("--") if "--" in argv else len(argv)
        common = ("--data-dir", str(self.data), "--format", "json")
        return [*FLM, *argv[:at], *common, *argv[at:]]

    def run(self, *argv: str, stdin: str = "", seconds: float = 60.0) -> Ran:
        """Run a command to its end."""
        done = subprocess.run(
            self.command(*argv),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=seconds,
            env=self.environ,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def tell(self, *argv: str, stdin: str = "") -> Any:
        """The data a command answers; it goes well."""
        return self.run(*argv, stdin=stdin).data

    def services(self) -> Services:
        """The same use cases within this process: for what is done fifty times over."""
        return open_services(str(self.data), self.environ)

    # What runs.

    def start(self, *flags: str) -> Served:
        """`flm proxy start`, on a free port unless told otherwise."""
        flags = flags if "--port" in flags else ("--port", "0", *flags)
        return Served(self, self.tell("proxy", "start", *flags))

    def status(self) -> Any:
        """What `flm proxy status` tells."""
        return self.tell("proxy", "status")

    @contextmanager
    def up(self, *flags: str, **popen: Any) -> Iterator[Up]:
        """`flm up` in a process group of its own; ended whatever happens."""
        flags = flags if "--port" in flags else ("--port", "0", *flags)
        with Up(self, self.command("up", *flags), popen) as running:
            yield running

    def key(self, label: str = "test", *more: str) -> tuple[str, str]:
        """Id and clear text of a new key."""
        made = self.tell("api-keys", "create", "--label", label, *more)
        return made["id"], made["api_key"]

    def processes(self) -> list[psutil.Process]:
        """The living processes that serve this data directory: controller, gateway, children."""
        found: list[psutil.Process] = []
        for process in psutil.process_iter(["pid", "status"]):
            if process.info["pid"] == os.getpid() or process.info["status"] == "zombie":
                continue
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                if self._is_ours(process):
                    found.append(process)
        return found

    def _is_ours(self, process: psutil.Process) -> bool:
        """A gateway is known by its journal's lock, an embedded child by its report file."""
        folder = f"{self.data}/"
        named = any(word == str(self.data) or folder in word for word in process.cmdline())
        return named or any(file.path.startswith(folder) for file in process.open_files())

    def gone(self, seconds: float = 10.0) -> None:
        """Wait until no process of this data directory is left."""
        until(lambda: not self.processes(), f"nothing left of {self.data}", seconds)

    def close(self) -> None:
        """Stop what runs; what does not go is killed, and the test fails."""
        stopped = self.run("proxy", "stop", seconds=90)
        try:
            self.gone()
        finally:
            for process in self.processes():
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
        assert stopped.code == 0, stopped

    # What was served.

    def logs(self, *flags: str) -> list[dict[str, Any]]:
        """The records `flm logs` shows."""
        records: list[dict[str, Any]] = self.tell("logs", *flags)["records"]
        return records

    def record(self, request_id: str) -> dict[str, Any]:
        """The record of that request, as soon as it is stored."""

        def look() -> list[dict[str, Any]]:
            return [each for each in self.logs() if each["request_id"] == request_id]

        (found,) = until(look, f"the record of {request_id}", pause=0.1)
        return found


class Served:
    """What `flm proxy start` or `flm up` answered, and the processes behind it."""

    def __init__(self, flm: Flm, told: dict[str, Any]) -> None:
        self.flm = flm
        self.told = told

    @property
    def base_url(self) -> str:
        """Where the SDK is pointed."""
        url = self.told.get("base_url") or self.told["handles"][0]["base_url"]
        return str(url)

    @property
    def port(self) -> int:
        """The port of the API."""
        return int(self.base_url.rsplit(":", 1)[1].partition("/")[0])

    @property
    def controller(self) -> int:
        """The controller's pid."""
        return int(self.told["pid"])

    def gateway(self) -> int:
        """The pid of the gateway that serves now."""
        return int(until(lambda: self.flm.status()["gateway"]["pid"], "a gateway"))

    def embedded(self) -> list[int]:
        """The pids of the loaded embedded models."""
        found: list[int] = []
        for child in psutil.Process(self.controller).children():
            with contextlib.suppress(psutil.NoSuchProcess):  # one that is just ending, too
                if "flm.engines.embedded.child" in child.cmdline():
                    found.append(child.pid)
        return found


class Up(Served):
    """A running `flm up`, or one that has ended."""

    def __init__(self, flm: Flm, command: list[str], popen: Mapping[str, Any]) -> None:
        super().__init__(flm, {})
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by `end`
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=flm.environ,
            **{"start_new_session": True, **popen},
        )

    def __enter__(self) -> Up:
        return self

    def __exit__(self, *error: object) -> None:
        self.end()

    def ready(self) -> Up:
        """Wait for the document; itself."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.errors()
        document = json.loads(line)
        assert document["version"] == "1.0"
        self.told = document["data"]
        return self

    def errors(self) -> str:
        """What it said on stderr so far."""
        self._errors.seek(0)
        return self._errors.read()

    def wait(self, seconds: float = 60.0) -> Ran:
        """Wait for its end; what it said after the document."""
        assert self.process.stdout is not None
        rest = self.process.stdout.read()
        return Ran(self.process.wait(seconds), rest, self.errors())

    def end(self) -> None:
        """Kill its group and what it started, if anything is left."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._errors.close()
        self.flm.gone()
