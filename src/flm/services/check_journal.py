"""What `flm check` says of the journal: what is not stored yet, and what cannot be read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from flm.domain.engines import Finding
from flm.errors import N_
from flm.ports.telemetry import Checkpoint
from flm.wire.journal import LOCK, MAX_RECORD, SUFFIX, unpack

MANY = 10_000
"""Records that wait while a controller runs: it stores thousands a second."""

CHUNK = 4 << 20


class _Segment(NamedTuple):
    """One segment from its checkpoint on. ``rest``: bytes that are no whole record."""

    path: Path
    records: int
    rest: int
    grows: bool


class JournalCheck:
    """Reads the journal. ``locked``: whether somebody holds the lock in that file."""

    def __init__(self, folder: Path, locked: Callable[[Path], bool]) -> None:
        self._folder = folder
        self._locked = locked

    def findings(self, checkpoints: Mapping[str, Checkpoint], live: bool) -> tuple[Finding, ...]:
        """``checkpoints``: how far each folder is stored; ``live``: a controller runs."""
        try:
            segments = list(self._segments(checkpoints))
        except OSError as error:
            return (_unreadable(self._folder, error),)
        waiting = sum(segment.records for segment in segments)
        return (*_waiting(waiting, live), *(found for each in segments for found in _torn(each)))

    def _segments(self, checkpoints: Mapping[str, Checkpoint]) -> Iterator[_Segment]:
        if not self._folder.exists():
            return
        for folder in sorted(entry for entry in self._folder.iterdir() if entry.is_dir()):
            owned = self._locked(folder / LOCK)
            at = checkpoints.get(folder.name, Checkpoint(0, 0))
            paths = sorted(
                path for path in folder.iterdir() if path.suffix == SUFFIX and path.stem.isdecimal()
            )
            for path in paths:
                number = int(path.stem)
                if number >= at.segment:
                    offset = at.offset if number == at.segment else 0
                    yield _read(path, offset, grows=owned and path == paths[-1])


def _read(path: Path, offset: int, *, grows: bool) -> _Segment:
    """A segment that is stored and removed meanwhile has nothing to say."""
    records = 0
    try:
        with path.open("rb") as file:
            file.seek(offset)
            left = b""
            while data := file.read(CHUNK):
                whole, used = unpack(left + data)
                records += len(whole)
                left = (left + data)[used:]
                if len(left) > 2 * MAX_RECORD:  # no frame is that long: the rest is lost
                    left += file.read()
                    break
    except FileNotFoundError:
        return _Segment(path, 0, 0, grows)
    return _Segment(path, records, len(left), grows)


def _waiting(count: int, live: bool) -> list[Finding]:
    if not count or (live and count < MANY):
        return []
    if live:
        return [
            Finding(
                code="journal_behind",
                message=N_("{count} records wait in the journal and are not stored."),
                remedy=N_("Look into controller.log in the data directory: the database may be "
                          "locked or the disk full."),
                values={"count": str(count)},
            )
        ]  # fmt: skip
    return [
        Finding(
            code="journal_waiting",
            message=N_("{count} records wait in the journal; the next start stores them."),
            values={"count": str(count)},
            level="note",
        )
    ]


def _torn(segment: _Segment) -> list[Finding]:
    """The last record of a killed gateway may be cut; more than one record is damage."""
    if not segment.rest or segment.grows:
        return []
    values = {"path": str(segment.path), "count": str(segment.rest)}
    if segment.rest <= MAX_RECORD + 8:
        return [
            Finding(
                code="journal_torn",
                message=N_("{path} ends with {count} bytes of a record that was not finished."),
                values=values,
                level="note",
            )
        ]
    return [
        Finding(
            code="journal_damaged",
            message=N_("{path} is damaged: {count} bytes at its end cannot be read."),
            remedy=N_(
                "What is before them is stored, the rest is lost. Look at the disk's health."
            ),
            values=values,
        )
    ]


def _unreadable(folder: Path, error: OSError) -> Finding:
    return Finding(
        code="journal_unreadable",
        message=N_("{path} cannot be read: {why}."),
        remedy=N_("Run the command as the user who runs FLM."),
        values={"path": str(error.filename or folder), "why": error.strerror or str(error)},
        level="error",
    )
