"""The folder of an engine that FLM installed: its versions, and which of them counts.

In it lie `downloads/`, a folder for each version, and `current`, a small file that names the one
that counts. A version counts only as a whole: it is unpacked beside (`<version>.new`), renamed,
and only then named by `current`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec

from flm.ports.releases import RunningFrom

LOCK = "lock"
_CURRENT = "current"
_DOWNLOADS = "downloads"


class Installed(msgspec.Struct, frozen=True, kw_only=True):
    """What `current` says. ``program``: its path within the version's folder; ``sha256``: of the
    archives it came from; ``installed_at``: UTC seconds."""

    version: str
    program: str
    sha256: tuple[str, ...]
    installed_at: float


class ProgramFolder:
    """Blocking; every method may raise `OSError`. Somebody else holds `lock` meanwhile."""

    def __init__(self, root: Path, running_from: RunningFrom) -> None:
        self.root = root
        self._running_from = running_from

    @property
    def lock(self) -> Path:
        """Locked by who changes the folder."""
        return self.root / LOCK

    @property
    def downloads(self) -> Path:
        """Archives and parts of them, until a version was installed from them."""
        return self.root / _DOWNLOADS

    def current(self) -> Installed | None:
        """The version that counts, None where there is none whose program is there."""
        try:
            text = (self.root / _CURRENT).read_bytes()
            found = msgspec.json.decode(text, type=Installed)
        except (OSError, msgspec.MsgspecError):
            return None
        return found if self.program(found).is_file() else None

    def program(self, record: Installed) -> Path:
        """The path of what is run."""
        return self.version(record.version) / record.program

    def version(self, version: str) -> Path:
        """The folder of a version."""
        return self.root / version

    def holds(self, path: str) -> bool:
        """Whether a path lies in this folder."""
        return bool(path) and Path(path).is_relative_to(self.root)

    def running(self) -> tuple[int, ...]:
        """Who runs from here."""
        return self._running_from(self.root)

    @contextlib.contextmanager
    def draft(self, version: str) -> Iterator[Path]:
        """An empty folder beside the version's; gone afterwards unless it became that."""
        path = self.root / f"{version}.new"
        try:
            path.mkdir(mode=0o700)
            yield path
        finally:
            with contextlib.suppress(OSError):  # swept at the next run
                remove(path)

    def point_to(self, record: Installed | None) -> None:
        """Have `current` name that version, or none, in one step."""
        if record is None:
            (self.root / _CURRENT).unlink(missing_ok=True)
            return
        draft = self.root / f"{_CURRENT}.new"
        try:
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            try:
                os.write(descriptor, msgspec.json.encode(record))
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            draft.replace(self.root / _CURRENT)
        except OSError:
            draft.unlink(missing_ok=True)
            raise

    def sweep(self) -> None:
        """Remove what earlier runs left: half a folder, versions that are not the one and that
        nobody runs."""
        record = self.current()
        kept = {LOCK, _CURRENT, _DOWNLOADS, record.version if record else ""}
        for each in tuple(self.root.iterdir()):
            if each.name not in kept and not self._running_from(each):
                remove(each)

    def clear(self) -> None:
        """Remove everything but the lock; what counts goes first."""
        self.point_to(None)
        for each in tuple(self.root.iterdir()):
            if each.name != LOCK:
                remove(each)

    def leave(self) -> None:
        """Remove the folder itself, if nobody has put something in it meanwhile."""
        with contextlib.suppress(OSError):
            self.lock.unlink(missing_ok=True)
            self.root.rmdir()


def remove(path: Path) -> None:
    """Remove a file or a folder with all that is in it; nothing happens where nothing is."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
