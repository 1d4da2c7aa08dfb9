"""File locks on POSIX: flock, kept for the life of the process.

flock rather than fcntl's record locks, because those vanish when *any* descriptor of the file is
closed in the process. The kernel drops the lock with the last descriptor, however a process ends,
so a lock file left behind means nothing.
"""

from __future__ import annotations

import fcntl
import os
import sys
import threading
from pathlib import Path

assert sys.platform != "win32"

_OPEN = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
_TRIES = 1000
_LOOK_SECONDS = 0.001


class FlockLock:
    """A held lock. `write` replaces the file by rename; the lock moves to the new file first."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor: int | None = descriptor

    def write(self, data: bytes) -> None:
        """Replace the file's content; readers see the old or the new, never half.

        The replacement is locked before it gets the name, so that whoever opens the name finds a
        locked file at every moment.
        """
        draft = self._path.with_name(f"{self._path.name}.new")
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, _OPEN | os.O_EXCL, 0o600)
        try:
            os.write(descriptor, data)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            draft.replace(self._path)
        except OSError:
            os.close(descriptor)
            raise
        self.release()
        self._descriptor = descriptor

    def release(self) -> None:
        """Let others have it; a second call does nothing."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def take(path: Path) -> FlockLock | None:
    """Lock `path`, made with mode 0600 if need be; None when another holds it.

    Raises `OSError` when the file cannot be opened.
    """
    for _ in range(_TRIES):
        descriptor = os.open(path, _OPEN, 0o600)
        if _lock_exclusively(descriptor) and _is_the_file_at(path, descriptor):
            return FlockLock(path, descriptor)
        held = _is_the_file_at(path, descriptor) and not _locks_shared(descriptor)
        os.close(descriptor)
        if held:
            return None
        threading.Event().wait(_LOOK_SECONDS)  # somebody only looks, which takes microseconds
    return None


def is_taken(path: Path) -> bool:
    """Whether somebody holds the lock; a missing file is free. Raises `OSError` otherwise."""
    for _ in range(_TRIES):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            if not _locks_shared(descriptor):
                return True
            if _is_the_file_at(path, descriptor):
                return False
        finally:
            os.close(descriptor)
    return True


def _lock_exclusively(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _locks_shared(descriptor: int) -> bool:
    """Whether nobody holds it exclusively: those who only look hold it shared for a moment."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_the_file_at(path: Path, descriptor: int) -> bool:
    """Whether the name still means the file we locked: its holder may have replaced it."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
