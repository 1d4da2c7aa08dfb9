"""Locks: one holder, whoever looks, however the holder ends."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

from flm.ports.processes import current

HOLD = (
    "import sys; from pathlib import Path; from flm.ports.processes import current; "
    "lock = current().lock(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
)


def test_a_held_lock_is_given_to_nobody_else(tmp_path: Path) -> None:
    """The second to ask gets None until the first lets go."""
    processes = current()
    held = processes.lock(tmp_path / "lock")
    assert held is not None
    assert processes.lock(tmp_path / "lock") is None
    held.release()
    again = processes.lock(tmp_path / "lock")
    assert again is not None
    again.release()


def test_looking_tells_without_taking(tmp_path: Path) -> None:
    """A missing file and a file that was left behind are free, a held one is not."""
    processes = current()
    path = tmp_path / "lock"
    assert processes.is_locked(path) is False
    held = processes.lock(path)
    assert held is not None
    assert processes.is_locked(path) is True
    held.release()
    assert path.exists()
    assert processes.is_locked(path) is False


def test_what_is_written_replaces_the_file_and_keeps_the_lock(tmp_path: Path) -> None:
    """The content is new and whole, mode 0600, and the lock was never free."""
    processes = current()
    path = tmp_path / "lock"
    held = processes.lock(path)
    assert held is not None
    held.write(b"a longer first text")
    held.write(b"second")
    assert path.read_bytes() == b"second"
    assert path.stat().st_mode & 0o777 == 0o600
    assert processes.is_locked(path) is True
    assert processes.lock(path) is None
    held.release()
    assert processes.is_locked(path) is False


def test_a_lock_ends_with_a_process_that_is_killed(tmp_path: Path) -> None:
    """kill -9 of the holder frees the lock, whatever the file says."""
    path = tmp_path / "lock"
    holder = subprocess.Popen(
        [sys.executable, "-P", "-c", HOLD, str(path)], stdin=-1, stdout=subprocess.PIPE
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert current().is_locked(path) is True
        holder.kill()
        holder.wait()
        assert current().is_locked(path) is False


def test_lookers_never_keep_a_lock_from_being_taken(tmp_path: Path) -> None:
    """While others look without end, taking and writing succeeds every time."""
    processes = current()
    path = tmp_path / "lock"
    path.touch(0o600)
    enough = threading.Event()

    def look() -> None:
        while not enough.is_set():
            processes.is_locked(path)

    lookers = [threading.Thread(target=look) for _ in range(3)]
    for looker in lookers:
        looker.start()
    try:
        taken = 0
        for number in range(200):
            lock = processes.lock(path)
            if lock is not None:
                lock.write(str(number).encode())
                lock.release()
                taken += 1
    finally:
        enough.set()
        for looker in lookers:
            looker.join()
    assert taken == 200
