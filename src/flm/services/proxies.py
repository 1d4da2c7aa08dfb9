"""What runs for a data directory: ask it, start it, stop it, tell it of changes.

The answers are true at every moment: the lock tells whether a controller lives (the system drops
it with the process), its control socket tells the rest, and one that holds the lock and does not
answer is reported as that, never as running.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from flm.errors import (
    N_,
    Conflict,
    FlmError,
    InternalError,
    InvalidValue,
    NotFound,
    NotPermitted,
    NotRunning,
    StartError,
    StoreError,
    UserError,
)
from flm.paths import DataPaths, check_owner, prepare
from flm.ports.clock import Clock
from flm.ports.processes import Processes
from flm.wire.control import (
    ControlRequest,
    DetectRequest,
    Done,
    Failure,
    LockInfo,
    OwnerKey,
    OwnerKeyRequest,
    PokeRequest,
    Status,
    StatusRequest,
    StopRequest,
)

SOCKET_SECONDS = 10.0
"""How long a controller that holds the lock may take until its control socket is there."""

ANSWER_SECONDS = 5.0
START_SECONDS = 60.0
POKE_SECONDS = 90.0
DETECT_SECONDS = 15.0
LEAVE_SECONDS = 5.0
LOOK_SECONDS = 0.02
ANSWER_BYTES = 16 << 20

_Answer = TypeVar("_Answer", bound=msgspec.Struct)


class _Gone(Exception):
    """The controller that was asked has ended."""


def pause(seconds: float) -> None:
    """Wait; the one place where the command line does."""
    threading.Event().wait(seconds)


class ProxyService:
    """The controller of one data directory, seen from outside. Implements `Notify`.

    ``entry`` is the command that starts a detached controller: program and module, to which
    the data directory and the flags are added.
    """

    def __init__(
        self,
        paths: DataPaths,
        processes: Processes,
        clock: Clock,
        pause: Callable[[float], None] = pause,
        entry: Sequence[str] = (sys.executable, "-P", "-m", "flm.control"),
    ) -> None:
        self._paths = paths
        self._processes = processes
        self._clock = clock
        self._pause = pause
        self._entry = tuple(entry)

    def status(self, wait: float = 0.0) -> Status | None:
        """What runs, None when nothing does. ``wait``: so many seconds for a start to end.

        Raises `NotPermitted` when the data directory is another user's, `InternalError`
        (`not_answering`) when a controller lives and does not answer, and why a start failed
        that was waited for.
        """
        return self._ask(StatusRequest(wait=wait), Status, wait + ANSWER_SECONDS)

    def start_detached(
        self, port: int | None = None, bind: str | None = None, demo: bool = False
    ) -> Status:
        """Start a controller that outlives this process; returns when requests are answered.

        What runs already is told instead: compare the port. Raises `Conflict` (`port_taken`),
        `StartError` with the last lines of its log, and what its start raised.
        """
        deadline = self._clock.monotonic() + START_SECONDS
        running = self.status()
        while running is not None and running.state == "stopping":
            if self._clock.monotonic() >= deadline:
                raise Conflict(
                    N_("FLM (process {pid}) is about to end and waits for running responses."),
                    remedy=N_("Try again when they have ended."),
                    code="already_running",
                    pid=running.pid,
                )
            self._pause(LOOK_SECONDS)
            running = self.status()
        if running is not None:
            return running if running.state == "started" else self._started(deadline, None, 0)
        flags = ["--data-dir", str(self._paths.root)]
        flags += [] if port is None else ["--port", str(port)]
        flags += [] if bind is None else ["--bind", bind]
        flags += ["--demo"] if demo else []
        prepare(self._paths)
        begin = _size(self._paths.controller_log)
        pid = self._processes.detach([*self._entry, *flags], self._paths.controller_log)
        try:
            return self._started(deadline, pid, begin)
        except FlmError:
            # It has said why and is about to leave: the next start must not meet it.
            self._until_ended(pid)
            raise

    def _until_ended(self, pid: int) -> None:
        deadline = self._clock.monotonic() + LEAVE_SECONDS
        while not self._processes.has_ended(pid) and self._clock.monotonic() < deadline:
            self._pause(LOOK_SECONDS)

    def _started(self, deadline: float, pid: int | None, begin: int) -> Status:
        """What runs when its start has ended; ``pid``: the process we started ourselves."""
        while self._clock.monotonic() < deadline:
            status = self.status(wait=deadline - self._clock.monotonic())
            if status is not None and status.state == "started":
                return status
            if status is None and (pid is None or self._processes.has_ended(pid)):
                break
            self._pause(LOOK_SECONDS)
        raise StartError(
            N_("FLM did not start: {words}"),
            remedy=N_("Look into {log}."),
            words=_last_lines(self._paths.controller_log, begin),
            log=self._paths.controller_log,
        )

    def stop(self, timeout: float = 60.0) -> Status | None:
        """Stop what runs, a foreground `flm up` too; what it was, None when nothing ran.

        Returns when it has drained, stored what was served and left. Raises `InternalError`
        (`not_stopped`) when that takes longer than `timeout` seconds.
        """
        deadline = self._clock.monotonic() + timeout
        stopped = self._ask(StopRequest(), Status, ANSWER_SECONDS)
        if stopped is None:
            return None
        while self._is_held():
            if self._clock.monotonic() >= deadline:
                raise InternalError(
                    N_("FLM (process {pid}) was asked to stop and still runs."),
                    remedy=N_("It waits for running responses; `kill {pid}` asks it again."),
                    code="not_stopped",
                    pid=stopped.pid,
                )
            self._pause(LOOK_SECONDS)
        return stopped

    def poke(self) -> None:
        """The store changed: returns when every gateway applies it, at once when nothing runs.

        Raises why when the change does not compile.
        """
        self._ask(PokeRequest(), Done, POKE_SECONDS)

    def owner_key(self) -> str:
        """The key for the owner's own requests. Raises `NotRunning` when nothing runs."""
        return self.demand(OwnerKeyRequest(), OwnerKey, ANSWER_SECONDS).key

    def detect(self) -> Status:
        """Have it look for engines now. Raises `NotRunning` when nothing runs."""
        return self.demand(DetectRequest(), Status, DETECT_SECONDS + SOCKET_SECONDS)

    def demand(self, request: ControlRequest, kind: type[_Answer], seconds: float) -> _Answer:
        """The controller's answer to `request`, which it may take `seconds` for.

        Raises `NotRunning` when nothing runs, and what the controller answers with.
        """
        answer = self._ask(request, kind, seconds)
        if answer is None:
            raise NotRunning(
                N_("Nothing serves the data directory {path}."),
                remedy=N_("Start it with `flm up`, or with `flm proxy start` in the background."),
                path=self._paths.root,
            )
        return answer

    def _ask(self, request: ControlRequest, kind: type[_Answer], seconds: float) -> _Answer | None:
        """The answer of the controller that lives, None when none does."""
        deadline = self._clock.monotonic() + SOCKET_SECONDS
        why = "no control socket"
        while self._is_held():
            info = self._lock_info()
            if info is not None:
                try:
                    return self._ask_at(info, request, kind, seconds)
                except _Gone:
                    pass
                except TimeoutError:
                    why = "no answer in time"
                    deadline = 0.0
                except OSError as error:
                    why = str(error)
            if self._clock.monotonic() >= deadline:
                if not self._is_held():
                    return None
                raise self._not_answering(info, why)
            self._pause(LOOK_SECONDS)
        return None

    def _not_answering(self, info: LockInfo | None, why: str) -> InternalError:
        if info is None:
            return InternalError(
                N_("FLM is starting or stuck: it holds {lock} and does not answer ({why})."),
                remedy=N_("Try again in a moment; look into {log}."),
                code="not_answering",
                lock=self._paths.controller_lock,
                log=self._paths.controller_log,
                why=why,
            )
        return InternalError(
            N_("FLM (process {pid}) does not answer: {why}."),
            remedy=N_("Look into {log}; `kill -9 {pid}` ends it, and nothing is lost by that."),
            code="not_answering",
            pid=info.pid,
            log=self._paths.controller_log,
            why=why,
        )

    def _is_held(self) -> bool:
        check_owner(self._paths.root)
        try:
            return self._processes.is_locked(self._paths.controller_lock)
        except PermissionError as error:
            raise NotPermitted(
                N_("{path} cannot be read by this user."),
                remedy=N_("Run the command as the user who runs FLM."),
                path=self._paths.controller_lock,
            ) from error

    def _lock_info(self) -> LockInfo | None:
        """Where to ask; None while the controller has not said so yet."""
        try:
            return msgspec.json.decode(self._paths.controller_lock.read_bytes(), type=LockInfo)
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    def _ask_at(
        self, info: LockInfo, request: ControlRequest, kind: type[_Answer], seconds: float
    ) -> _Answer:
        """Ask, and read one line. Raises `_Gone` when the other end leaves without a word."""
        with self._processes.control_connect(info.control, ANSWER_SECONDS) as connection:
            line = msgspec.json.encode(request) + b"\n"
            connection.settimeout(seconds)
            connection.sendall((info.token.encode() + b"\n" if info.token else b"") + line)
            answer = bytearray()
            ends = self._clock.monotonic() + seconds
            while not answer.endswith(b"\n"):
                connection.settimeout(max(0.01, ends - self._clock.monotonic()))
                data = connection.recv(1 << 16)
                if not data or len(answer) > ANSWER_BYTES:
                    raise _Gone
                answer += data
        return _opened(bytes(answer), kind)


def _opened(line: bytes, kind: type[_Answer]) -> _Answer:
    """What an answer holds. Raises the error it tells of."""
    try:
        fields = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
        if "error" in fields:
            raise error_of(msgspec.json.decode(fields["error"], type=Failure))
        return msgspec.json.decode(fields["ok"], type=kind)
    except (msgspec.DecodeError, KeyError) as error:
        raise InternalError(
            N_("FLM answers in a form this version does not know: {why}."),
            remedy=N_("Stop it with the version that runs, and start it again."),
            code="version_mismatch",
            why=error,
        ) from error


_KINDS: tuple[type[FlmError], ...] = (
    Conflict, InvalidValue, NotFound, NotPermitted, NotRunning, StartError, StoreError,
)  # fmt: skip


def error_of(failure: Failure) -> FlmError:
    """The error a controller raised, of the nearest class of the tree and with its own code."""
    by_code = {"port_taken": Conflict, "already_running": Conflict}
    kind: type[FlmError] | None = by_code.get(failure.code)
    if kind is None:
        fallback = UserError if failure.exit_code == 1 else InternalError
        kind = next((each for each in _KINDS if each.code == failure.code), fallback)
    # Templates come with what fills them: the command line translates and fills in.
    try:
        failure.template.format(**failure.values)
    except (ValueError, LookupError):  # values are text here, and some formats want numbers
        return kind("{message}", code=failure.code, message=failure.message)
    return kind(
        failure.template or "{message}",
        remedy=failure.remedy_template,
        code=failure.code,
        **(failure.values if failure.template else {"message": failure.message}),
    )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _last_lines(path: Path, begin: int, count: int = 5) -> str:
    """The last lines that were written to `path` after `begin`."""
    try:
        written = path.read_bytes()
    except OSError:
        return ""
    fresh = written[begin:] if len(written) >= begin else written
    return "\n".join(fresh.decode(errors="replace").strip().splitlines()[-count:])
