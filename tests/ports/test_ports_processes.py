"""Children, sockets and limits on this platform, with real processes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from flm.ports.processes import current
from flm.ports.processes.posix import PosixProcesses

CHILD = Path(__file__).with_name("ports_child.py")
SPAWNER = """
import asyncio, os, sys
from pathlib import Path
from flm.ports.processes import current

async def main():
    child = await current().spawn(
        [sys.executable, "-P", sys.argv[1], str(os.getpid())], stdin=b"", output=Path(sys.argv[2])
    )
    while b"hard" not in Path(sys.argv[2]).read_bytes():
        await asyncio.sleep(0.01)
    print(child.pid, flush=True)
    await child.wait()

asyncio.run(main())
"""


async def lines(path: Path, count: int) -> list[str]:
    """The lines of a file once there are so many."""
    async with asyncio.timeout(20):
        while not path.exists() or path.read_text().count("\n") < count:
            await asyncio.sleep(0.01)
    return path.read_text().splitlines()


async def test_a_child_ignores_the_signals_of_a_terminal(tmp_path: Path) -> None:
    """SIGINT and SIGTERM do nothing to it; the end of its stdin, and kill, end it."""
    out = tmp_path / "out"
    child = await current().spawn(
        [sys.executable, "-P", str(CHILD), str(os.getpid())], stdin=b"", output=out
    )
    assert await lines(out, 1) == ["hard"]
    assert os.getsid(child.pid) == child.pid
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(child.pid, number)
    assert psutil.pid_exists(child.pid)
    child.kill()
    assert await child.wait() == -signal.SIGKILL


async def test_killing_a_child_ends_its_whole_group(tmp_path: Path) -> None:
    """A grandchild does not outlive it."""
    out = tmp_path / "out"
    child = await current().spawn(
        [sys.executable, "-P", str(CHILD), str(os.getpid()), "grandchild"], stdin=b"", output=out
    )
    grandchild = psutil.Process(int((await lines(out, 2))[1]))
    child.kill()
    await child.wait()
    gone, alive = await asyncio.to_thread(psutil.wait_procs, [grandchild], 5)
    assert (len(gone), alive) == (1, [])


async def test_a_grandchild_ends_with_a_child_that_ended_by_itself(tmp_path: Path) -> None:
    """What a crashed child leaves in its group is ended when the child is collected."""
    out = tmp_path / "out"
    child = await current().spawn(
        [sys.executable, "-P", str(CHILD), str(os.getpid()), "grandchild"], stdin=b"", output=out
    )
    grandchild = psutil.Process(int((await lines(out, 2))[1]))
    os.kill(child.pid, signal.SIGKILL)
    assert await child.wait() == -signal.SIGKILL
    gone, alive = await asyncio.to_thread(psutil.wait_procs, [grandchild], 5)
    assert (len(gone), alive) == (1, [])


async def test_the_exit_code_of_a_child_is_told_to_everybody_who_waits() -> None:
    """Two waiters, one code, and a late one too."""
    child = await current().spawn([sys.executable, "-c", "raise SystemExit(7)"])
    assert await asyncio.gather(child.wait(), child.wait()) == [7, 7]
    assert await child.wait() == 7
    child.kill()


async def test_a_child_dies_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    """kill -9 of the parent ends the child without anybody's help."""
    spawner = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-c", SPAWNER, str(CHILD), str(tmp_path / "out"),
        stdout=subprocess.PIPE,
    )  # fmt: skip
    assert spawner.stdout is not None
    child = psutil.Process(int(await spawner.stdout.readline()))
    spawner.kill()
    await spawner.wait()
    gone, alive = await asyncio.to_thread(psutil.wait_procs, [child], 5)
    assert (len(gone), alive) == (1, [])


async def test_a_child_whose_parent_is_another_says_so(tmp_path: Path) -> None:
    """It was given a pid that is not its parent's: the parent has gone."""
    child = await current().spawn(
        [sys.executable, "-P", str(CHILD), "1"], stdin=b"", output=tmp_path / "out"
    )
    assert await lines(tmp_path / "out", 1) == ["orphan"]
    child.kill()
    await child.wait()


async def test_sockets_keep_their_numbers_in_a_child() -> None:
    """The descriptor that the parent names is the socket in the child; no other is open there."""
    ours, theirs = current().channel()
    code = f"import socket; socket.socket(fileno={theirs.fileno()}).sendall(b'here')"
    child = await current().spawn([sys.executable, "-c", code], pass_sockets=[theirs])
    theirs.close()
    assert await asyncio.get_running_loop().sock_recv(ours, 10) == b"here"
    assert await child.wait() == 0
    ours.close()


async def test_an_output_file_that_has_grown_large_is_set_aside(tmp_path: Path) -> None:
    """The new output begins afresh; the old one is kept once."""
    out = tmp_path / "child.log"
    out.write_bytes(b"x" * (5 << 20) + b"y")
    child = await current().spawn([sys.executable, "-c", "print('new')"], output=out)
    await child.wait()
    assert out.read_text() == "new\n"
    assert (tmp_path / "child.log.1").stat().st_size == (5 << 20) + 1


def test_a_detached_process_has_a_session_of_its_own_and_its_end_is_seen(tmp_path: Path) -> None:
    """It writes into the file it was given; `has_ended` says so when it has."""
    processes = current()
    code = "import os; print(os.getsid(0) == os.getpid(), flush=True); input()"
    pid = processes.detach([sys.executable, "-c", code], tmp_path / "out")
    psutil.wait_procs([psutil.Process(pid)], timeout=20)
    assert (tmp_path / "out").read_text().splitlines()[0] == "True"
    assert processes.has_ended(pid) is True
    assert processes.has_ended(os.getpid()) is False


def test_a_port_is_taken_once_and_its_holder_is_named() -> None:
    """A second listener on the same port fails; the program that has it can be told."""
    processes = current()
    listening = processes.listen("127.0.0.1", 0, 16)
    port = listening.getsockname()[1]
    with pytest.raises(OSError, match="in use"):
        processes.listen("127.0.0.1", port, 16)
    holder = processes.holder_of_port("127.0.0.1", port)
    assert holder == (os.getpid(), psutil.Process().name())
    listening.close()
    assert processes.holder_of_port("127.0.0.1", port) is None


def test_a_port_is_free_at_once_after_connections_were_open(tmp_path: Path) -> None:
    """SO_REUSEADDR: what lingers of old connections keeps nobody from listening."""
    processes = current()
    listening = processes.listen("127.0.0.1", 0, 16)
    port = listening.getsockname()[1]
    with socket.create_connection(("127.0.0.1", port)):
        listening.setblocking(True)
        accepted, _ = listening.accept()
        accepted.close()
        listening.close()
    processes.listen("127.0.0.1", port, 16).close()


def test_the_kernel_takes_little_for_a_client_that_does_not_read() -> None:
    """It would take megabytes, and the client would seem to have them."""
    with contextlib.closing(current().listen("127.0.0.1", 0, 16)) as listening:
        listening.setblocking(True)
        with socket.create_connection(listening.getsockname()):
            accepted, _ = listening.accept()
            accepted.setblocking(False)
            assert 0 < accepted.send(bytes(8 << 20)) < 1 << 20
            accepted.close()


def test_the_control_socket_lies_in_the_data_directory_while_that_is_short(tmp_path: Path) -> None:
    """A short path is used as it is."""
    assert current().control_address(Path("/srv/flm")) == "/srv/flm/control.sock"


def test_the_control_socket_of_a_long_path_lies_in_a_directory_of_our_own(tmp_path: Path) -> None:
    """Two long paths get two short addresses, each in a 0700 directory of this user."""
    runtime = Path("/tmp") / f"flm-test-{os.getpid()}"
    runtime.mkdir(mode=0o700)
    try:
        processes = PosixProcesses(runtime)
        first = processes.control_address(Path("/srv") / ("a" * 120))
        assert first == processes.control_address(Path("/srv") / ("a" * 120))
        second = processes.control_address(Path("/srv") / ("b" * 120))
        assert first != second
        assert len(first) < 100
        assert Path(first).parent.stat().st_mode & 0o777 == 0o700
        Path(first).parent.chmod(0o755)
        with pytest.raises(PermissionError):
            processes.control_address(Path("/srv") / ("a" * 120))
    finally:
        for folder in runtime.iterdir():
            folder.rmdir()
        runtime.rmdir()


def test_a_control_socket_is_for_this_user_only_and_replaces_what_was_left(tmp_path: Path) -> None:
    """Mode 0600, and the peer of a connection is known to be this user."""
    processes = current()
    address = str(tmp_path / "control.sock")
    old, _ = processes.control_listener(address)
    old.close()
    listening, got = processes.control_listener(address)
    assert got == address
    assert Path(address).stat().st_mode & 0o777 == 0o600
    with processes.control_connect(address, 1.0), listening:
        listening.setblocking(True)
        accepted, _ = listening.accept()
        with accepted:
            assert processes.is_same_user(accepted) is True


def test_the_limit_of_open_files_is_raised_to_the_hard_one() -> None:
    """The soft limit becomes what the system allows."""
    code = (
        "import resource; from flm.ports.processes import current; "
        "hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]; "
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard)); "
        "print(current().raise_file_limit() == hard)"
    )
    told = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, check=True)
    assert told.stdout == b"True\n"
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 0


def test_core_dumps_are_off_for_good() -> None:
    """Neither limit allows a core file any more."""
    code = (
        "import resource; from flm.ports.processes import current; current().no_core_dumps(); "
        "print(resource.getrlimit(resource.RLIMIT_CORE))"
    )
    told = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, check=True)
    assert told.stdout == b"(0, 0)\n"
