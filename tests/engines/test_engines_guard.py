"""The guard: what it starts dies with it, whatever it ignores, and leaves no endless log."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from flm.domain.engines import Address, EngineId
from flm.engines.guarded import GuardedEngine, GuardLauncher
from flm.ports.engines import LaunchPlan
from flm.ports.processes import current
from flm.ports.processes.engine_log import BoundedLog

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")

STUBBORN = """
import os, signal, subprocess, time
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
child = subprocess.Popen(["sleep", "600"], start_new_session=True)
print("pids", os.getpid(), child.pid, flush=True)
time.sleep(600)
"""

TALKATIVE = """
import sys, time
for _ in range(120):
    sys.stdout.write("x" * 99_999 + "\\n")
print("done", flush=True)
time.sleep(600)
"""

OPEN = """
import os, time
print("secret" in os.environ.get("FLM_SECRET", ""), os.environ["HF_HOME"], os.environ["MINE"])
print("ready", flush=True)
time.sleep(600)
"""


async def launch(folder: Path, code: str, **more: object) -> GuardedEngine:
    """A Python program under a guard."""
    environ = {**os.environ, "FLM_SECRET": "a secret", "HF_HOME": "/hf"}
    launcher = GuardLauncher(current(), folder, environ, lambda: os.urandom(16).hex())
    plan = LaunchPlan(
        arguments=(sys.executable, "-c", code),
        address=Address("127.0.0.1", 1),
        environment={"MINE": "own"},
        **more,
    )
    return await launcher.launch(EngineId("test"), plan)


async def until(fact: Callable[[], object]) -> None:
    """Wait until `fact` holds; a test that waits in vain fails."""
    async with asyncio.timeout(30):
        while not fact():
            await asyncio.sleep(0.01)


def runs(pid: int) -> bool:
    """Whether it does, and does not only wait to be reaped."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def words(engine: GuardedEngine) -> list[int]:
    """The pids that the stubborn program told."""
    told = engine.text().partition("pids ")[2].split()
    return [int(word) for word in told[:2]]


async def test_what_ignores_every_signal_is_ended_all_the_same(tmp_path: Path) -> None:
    """So is its child in a session of its own."""
    engine = await launch(tmp_path, STUBBORN)
    await until(lambda: len(words(engine)) == 2)
    pids = words(engine)
    await engine.stop()
    assert [runs(pid) for pid in pids] == [False, False]


async def test_a_guard_minds_no_signal_but_the_end_of_its_stdin(tmp_path: Path) -> None:
    """Ctrl-C and a service manager's signal to the group mean the controller, not the guard."""
    engine = await launch(tmp_path, STUBBORN)
    await until(lambda: len(words(engine)) == 2)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(engine.pid, number)
    await engine.stop()
    assert await engine.exited() == 0


async def test_a_guard_that_is_killed_leaves_nothing(tmp_path: Path) -> None:
    """The kernel ends its program, its mark finds the others; a second stop does nothing."""
    engine = await launch(tmp_path, STUBBORN)
    await until(lambda: len(words(engine)) == 2)
    pids = words(engine)
    os.kill(engine.pid, signal.SIGKILL)
    assert await engine.exited() == -signal.SIGKILL
    await until(lambda: not any(runs(pid) for pid in pids))
    await engine.stop()


async def test_the_exit_code_is_the_programs(tmp_path: Path) -> None:
    """A signal's is 128 and its number, as a shell's."""
    assert await (await launch(tmp_path, "raise SystemExit(5)")).exited() == 5
    ended = await launch(tmp_path, "import os; os.kill(os.getpid(), 9)")
    assert await ended.exited() == 137


async def test_a_program_that_does_not_stay_is_stopped_by_its_command(tmp_path: Path) -> None:
    """The guard stays for it; what the program left running is ended after the command."""
    left = tmp_path / "left"
    stopped = tmp_path / "stopped"
    code = (
        "import subprocess, sys; "
        "child = subprocess.Popen(['sleep', '600'], start_new_session=True); "
        f"open({str(left)!r}, 'w').write(str(child.pid))"
    )
    stop = (sys.executable, "-c", f"open({str(stopped)!r}, 'w').write('yes')")
    engine = await launch(tmp_path, code, stays=False, stop=stop)
    await until(lambda: left.exists() and left.read_text())
    pid = int(left.read_text())
    assert runs(pid)
    await engine.stop()
    assert stopped.read_text() == "yes"
    assert not runs(pid)


async def test_the_log_of_a_talkative_program_is_bounded(tmp_path: Path) -> None:
    """12 MB of words leave the last of them in two files of at most 5 MiB."""
    engine = await launch(tmp_path, TALKATIVE)
    await until(lambda: engine.lines(1) == ("done",))
    await engine.stop()
    sizes = [path.stat().st_size for path in sorted(tmp_path.glob("test.log*"))]
    assert len(sizes) == 2
    assert max(sizes) <= 5 << 20
    assert (tmp_path / "test.log").stat().st_mode & 0o777 == 0o600


async def test_a_program_gets_its_environment_and_none_of_flms(tmp_path: Path) -> None:
    """What engines read, and what its plan adds."""
    engine = await launch(tmp_path, OPEN)
    await until(lambda: "ready" in engine.text())
    assert engine.lines(2) == ("False /hf own", "ready")
    await engine.stop()


async def test_a_programs_colours_do_not_reach_a_terminal(tmp_path: Path) -> None:
    """Nor do its carriage returns: each state of a progress bar is a line."""
    engine = await launch(tmp_path, "print('\\x1b[31m10%\\r20%\\x07', flush=True)")
    await engine.exited()
    assert engine.lines(9) == ("10%", "20%")


async def test_nobody_else_may_read_what_is_kept_of_an_engine(tmp_path: Path) -> None:
    """Its record and its log are its user's alone, whatever the umask says."""
    before = os.umask(0)
    try:
        engine = await launch(tmp_path, OPEN)
        await until(lambda: "ready" in engine.text())
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
        await engine.stop()
    finally:
        os.umask(before)
    assert modes == {"test.launch": 0o600, "test.log": 0o600}


async def test_only_what_is_marked_is_swept(tmp_path: Path) -> None:
    """A record that nothing answers to any more is removed, and nobody is hurt by that."""
    (tmp_path / "old.launch").write_text("0" * 32)
    (tmp_path / "empty.launch").touch()
    await GuardLauncher(current(), tmp_path, {}, lambda: "").sweep()
    assert list(tmp_path.iterdir()) == []


def test_a_log_begins_anew_before_it_grows_too_long(tmp_path: Path) -> None:
    """What was there is kept once; a folder that is gone costs words and nothing else."""
    log = BoundedLog(tmp_path / "x.log", largest=10)
    log.write(b"12345678")
    log.write(b"abc")
    assert (tmp_path / "x.log").read_bytes() == b"abc"
    assert (tmp_path / "x.log.1").read_bytes() == b"12345678"
    log.close()
    log.close()
    BoundedLog(tmp_path / "nowhere" / "x.log").write(b"lost")
