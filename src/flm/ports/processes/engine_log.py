"""A log file that does not grow without bounds: what is too much is set aside as `<name>.1`."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

LOG_BYTES = 5 << 20


class BoundedLog:
    """Appended to with mode 0600. What cannot be written is lost: an engine never waits for it."""

    def __init__(self, path: Path, largest: int = LOG_BYTES) -> None:
        self._path = path
        self._largest = largest
        self._descriptor: int | None = None
        self._size = 0
        self._open()

    def write(self, data: bytes) -> None:
        """Append `data`."""
        if self._size + len(data) > self._largest and self._size:
            self.close()
            with contextlib.suppress(OSError):
                self._path.replace(self._path.with_name(f"{self._path.name}.1"))
            self._open()
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                self._size += os.write(self._descriptor, data)

    def close(self) -> None:
        """Let the file go; a second call does nothing."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)
        with contextlib.suppress(OSError):
            self._descriptor = os.open(self._path, flags, 0o600)
            self._size = os.fstat(self._descriptor).st_size
