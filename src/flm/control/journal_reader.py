"""Reads what gateways journalled and has it stored, then removes it. Synchronous: store thread.

Every folder under the journal is one gateway process's, dead or alive, ours or a predecessor's.
A folder is *owned* while its lock is held. Reading never waits for anything: a record that is
not whole yet is read the next time.
"""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path

from flm.ports.clock import Clock
from flm.ports.processes import Processes
from flm.ports.telemetry import Checkpoint, RecordRepository
from flm.wire.journal import LOCK, MAX_RECORD, SUFFIX, segment_name, unpack

logger = logging.getLogger("flm.control.journal")

CHUNK = 4 * MAX_RECORD
"""Bytes read at once and stored in one transaction.

More than one frame can be, so that no progress means a damaged one. Some 2,000 records: they hold
the write lock for about 12 ms, and what a transaction costs whatever is in it (0.3 ms) is little.
"""

YOUNG_SECONDS = 5.0
"""A folder nobody owns is left alone for so long: its gateway may be about to lock it."""


class JournalReader:
    """Stores the journal step by step. `step` is called until it returns False."""

    def __init__(
        self, folder: Path, records: RecordRepository, processes: Processes, clock: Clock
    ) -> None:
        self._folder = folder
        self._records = records
        self._processes = processes
        self._clock = clock
        self._reached: dict[str, Checkpoint] = {}

    def step(self) -> bool:
        """Store one chunk of each instance; whether there is more to do at once.

        The end of a segment that still grows is no more to do, though records may come in the
        meantime: whoever followed it closely would store them a few at a time, at many times
        the price.

        Raises `StoreError` when the database cannot be written: the journal stays as it is.
        """
        more = False
        for instance in self._instances():
            more = self._read(instance) or more
        return more

    def _instances(self) -> list[str]:
        try:
            return sorted(entry.name for entry in self._folder.iterdir() if entry.is_dir())
        except FileNotFoundError:
            return []

    def _read(self, instance: str) -> bool:
        folder = self._folder / instance
        # Asked before the segments are listed: what is not owned now will never grow again.
        owned = self._processes.is_locked(folder / LOCK)
        segments = _segments(folder)
        at = self._checkpoint(instance)
        for number in [number for number in segments if number < at.segment]:
            (folder / segment_name(number)).unlink(missing_ok=True)
        left = [number for number in segments if number >= at.segment]
        if not left:
            return self._finish(folder, instance) if not owned else False
        if left[0] > at.segment:
            at = Checkpoint(left[0], 0)
        closed = len(left) > 1 or not owned
        return self._read_segment(folder, instance, at, closed, left[1:])

    def _read_segment(
        self, folder: Path, instance: str, at: Checkpoint, closed: bool, later: list[int]
    ) -> bool:
        path = folder / segment_name(at.segment)
        with path.open("rb") as file:
            file.seek(at.offset)
            data = file.read(CHUNK)
        records, used = unpack(data)
        if records:
            reached = Checkpoint(at.segment, at.offset + used)
            self._records.store(instance, records, reached)
            self._reached[instance] = reached
            return closed or len(data) == CHUNK
        if not closed:
            return False
        if data:
            logger.warning("%s: %d bytes after %d are no record", path, len(data), at.offset)
        following = Checkpoint(later[0] if later else at.segment + 1, 0)
        self._records.store(instance, [], following)
        self._reached[instance] = following
        path.unlink(missing_ok=True)
        return True

    def _finish(self, folder: Path, instance: str) -> bool:
        """Remove the empty folder of a gateway that is gone."""
        try:
            newest = max(entry.stat().st_mtime for entry in (folder, *folder.iterdir()))
            if self._clock.now() - newest < YOUNG_SECONDS:
                return False
            if _segments(folder):
                return True
            for entry in folder.iterdir():
                entry.unlink()
            folder.rmdir()
        except OSError as error:
            logger.warning("%s cannot be removed: %s", folder, error)
            return False
        self._records.forget_instance(instance)
        self._reached.pop(instance, None)
        return False

    def _checkpoint(self, instance: str) -> Checkpoint:
        reached = self._reached.get(instance)
        if reached is None:
            reached = self._reached[instance] = self._records.checkpoint(instance)
        return reached


def _segments(folder: Path) -> list[int]:
    """The numbers of the segments in `folder`, lowest first."""
    numbers = []
    with contextlib.suppress(FileNotFoundError):
        for entry in folder.iterdir():
            if entry.suffix == SUFFIX and entry.stem.isdecimal():
                numbers.append(int(entry.stem))
    return sorted(numbers)
