"""What was served, appended before it is stored: one `write` a record, no fsync.

A killed process loses nothing that was written; only a power cut can. When the disk or the cap
is full, requests go on and the records that could not be written are counted.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from flm.domain.records import JournalRecord
from flm.ports.processes import Lock, Processes
from flm.wire.journal import LOCK, SEGMENT_BYTES, pack, segment_name

logger = logging.getLogger("flm.journal")

LOOK_SECONDS: Final = 0.5


class Journal:
    """The journal of one gateway process: its own folder, its lock, its growing segment."""

    def __init__(self, root: Path, instance: str, processes: Processes, cap_bytes: int) -> None:
        self._root = root
        self._folder = root / instance
        self._processes = processes
        self.cap_bytes = cap_bytes
        self.segment = 0
        self.offset = 0
        self.unrecorded = 0
        self._file = -1
        self._full = False
        self._closed = False
        self._looked = 0.0
        self._lock: Lock | None = None

    def open(self) -> None:
        """Make the folder, take its lock for life and start the first segment.

        Never raises: on a full disk requests go on, and the next record tries again.
        """
        self._roll()

    def append(self, records: Sequence[JournalRecord]) -> None:
        """Write `records` at once; never raises. What cannot be written is counted."""
        data = pack(records[0]) if len(records) == 1 else b"".join(map(pack, records))
        if self._file < 0 or self._full or self.offset >= SEGMENT_BYTES:
            self._try(records[0].time)
            if self._file < 0 or self._full:
                self._lost(len(records), "the disk or the cap is full")
                return
        try:
            written = os.write(self._file, data)
            if written != len(data):
                os.ftruncate(self._file, self.offset)
                raise OSError("the disk is full")
        except OSError as error:
            self._lost(len(records), str(error))
            return
        self.offset += written

    def _lost(self, count: int, reason: str) -> None:
        before = self.unrecorded
        self.unrecorded += count
        if before == 0 or before // 1000 != self.unrecorded // 1000:
            logger.error("%d records could not be journalled: %s", self.unrecorded, reason)

    def _try(self, now: float) -> None:
        """Roll; while that fails only once in half a second, for it walks the whole journal."""
        if (self._file < 0 or self._full) and abs(now - self._looked) < LOOK_SECONDS:
            return
        self._looked = now
        self._roll()

    def _claim(self) -> bool:
        """Whether the folder is there and ours."""
        if self._lock is None and not self._closed:
            try:
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._lock = self._processes.lock(self._folder / LOCK)
            except OSError as error:
                logger.error("no journal folder: %s", error)
        return self._lock is not None

    def _roll(self) -> None:
        """Start the next segment, unless the journal has grown to its cap."""
        if not self._claim():
            return
        full = self._bytes_on_disk() >= self.cap_bytes
        if full and not self._full:
            logger.error("the journal has grown to its cap of %d bytes", self.cap_bytes)
        self._full = full
        if full or (self._file >= 0 and self.offset < SEGMENT_BYTES):
            return
        path = self._folder / segment_name(self.segment + 1)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0)
        try:
            file = os.open(path, flags | getattr(os, "O_BINARY", 0), 0o600)
        except OSError as error:
            logger.error("no new journal segment: %s", error)
            return
        if self._file >= 0:
            os.close(self._file)
        self._file = file
        self.segment += 1
        self.offset = 0

    def _bytes_on_disk(self) -> int:
        total = 0
        try:
            for folder, _, files in os.walk(self._root):
                for name in files:
                    total += os.stat(os.path.join(folder, name)).st_size  # noqa: PTH116, PTH118
        except OSError:
            return total
        return total

    def close(self) -> None:
        """Close the segment and let go of the folder: the controller may store and remove it."""
        self._closed = True
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        if self._lock is not None:
            self._lock.release()
            self._lock = None
