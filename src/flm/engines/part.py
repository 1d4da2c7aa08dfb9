"""The part of a file that has come so far, and what is known of the whole.

Beside the target lie `.part` (the bytes), `.part.json` (where they come from) and, while somebody
fetches, `.part.lock`. All of it is plain blocking code: the downloader calls it from a thread.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from pathlib import Path
from typing import Self

import msgspec

_BLOCK = 1 << 20
_OPEN = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Where the bytes of a part come from.

    ``source``: a digest of the URL, which may hold a token; ``validator``: what the server calls
    this version of the file (a strong ETag or a date), '' when it did not say; ``total``: bytes
    of the whole, 0 when unknown.
    """

    source: str
    validator: str = ""
    total: int = 0


def source_of(url: str) -> str:
    """The digest under which a part remembers its URL."""
    return hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()


class Part:
    """An open `.part` file. ``size`` bytes of it have come; every method may raise `OSError`."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._path = beside(target, ".part")
        self._note = beside(target, ".part.json")
        self._file = os.open(self._path, _OPEN, 0o600)
        self._digest = hashlib.sha256()
        self.size = 0
        self.origin = Origin(source="")

    @classmethod
    def open(cls, target: Path) -> Self:
        """The part that lies there, or an empty one. Reads all of it once, for its checksum."""
        part = cls(target)
        try:
            part._read_all()
        except BaseException:  # Ctrl-C too, which large files invite: nobody else closes it
            part.close()
            raise
        return part

    def _read_all(self) -> None:
        while block := os.read(self._file, _BLOCK):
            self._digest.update(block)
            self.size += len(block)
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            self.origin = msgspec.json.decode(self._note.read_bytes(), type=Origin)

    @property
    def sha256(self) -> str:
        """The checksum of what has come."""
        return self._digest.hexdigest()

    def write(self, data: bytes) -> None:
        """Append; after an `OSError` the part is as it was before."""
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._file, view) :]
        except OSError:
            self._cut(self.size)
            raise
        self._digest.update(data)
        self.size += len(data)

    def restart(self, origin: Origin) -> None:
        """Forget the bytes and remember `origin` for those that come now."""
        self._cut(0)
        self._digest = hashlib.sha256()
        self.size = 0
        self.remember(origin)

    def remember(self, origin: Origin) -> None:
        """Note where the bytes come from, for another process that goes on with them."""
        self.origin = origin
        draft = beside(self._target, ".part.new")
        descriptor = os.open(draft, _OPEN | os.O_TRUNC, 0o600)
        try:
            os.write(descriptor, msgspec.json.encode(origin))
        finally:
            os.close(descriptor)
        draft.replace(self._note)

    def finish(self) -> None:
        """Make the part the target, whole on the disk before it gets the name."""
        os.fsync(self._file)
        self.close()
        self._path.replace(self._target)
        self._note.unlink(missing_ok=True)
        if sys.platform != "win32":
            folder = os.open(self._target.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def discard(self) -> None:
        """Close it and remove what has come."""
        self.close()
        self._path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the file, which stays; a second call does nothing."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _cut(self, size: int) -> None:
        os.ftruncate(self._file, size)
        os.lseek(self._file, size, os.SEEK_SET)


def beside(target: Path, ending: str) -> Path:
    """The path of what is kept beside `target` under `ending`."""
    return target.with_name(target.name + ending)


def size_of(path: Path, sha256: str | None) -> int | None:
    """The size of a file with that checksum, None where there is no such file."""
    if sha256 is None or not path.is_file():
        return None
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            return None
        return file.tell()
