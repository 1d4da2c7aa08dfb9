"""Unpacking archives that come from elsewhere: `.tgz`, `.tar.gz`, `.tar.zst` and `.zip`.

Nothing is written outside the folder, whatever the archive says: no absolute names, no `..`, no
way through a link, no devices, no set-uid bits, nothing twice, no more than a bound. Names are
judged as text first and against the disk before each write; the standard library's own filter
is asked besides.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import posixpath
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Literal, Protocol

import msgspec

from flm.errors import N_, InvalidValue, UserError

Format = Literal["tgz", "tar.zst", "zip"]

_ENDINGS: tuple[tuple[str, Format], ...] = (
    (".tgz", "tgz"),
    (".tar.gz", "tgz"),
    (".tar.zst", "tar.zst"),
    (".zip", "zip"),
)
_BLOCK = 1 << 20
_UNSAFE = re.compile(
    r'[<>:"|?*\\]|(^|/)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.[^/]*)?(/|$)|[. ](/|$)', re.IGNORECASE
)
"""Names that mean something else on Windows: drives, streams, devices, dots that vanish."""

_DAMAGED = (
    *(tarfile.TarError, gzip.BadGzipFile, zipfile.BadZipFile, zlib.error, EOFError),
    *(ValueError, NotImplementedError, RuntimeError),  # zipfile: names, methods, passwords
)

Told = Callable[[int], None]
"""Is given the bytes that were unpacked so far."""


class Limits(msgspec.Struct, frozen=True):
    """The most an archive may hold: bytes, entries, and characters of a name."""

    size: int = 32 << 30
    entries: int = 20_000
    name: int = 512


class _Reader(Protocol):
    def read(self, size: int, /) -> bytes: ...


def format_of(name: str) -> Format:
    """The format of an archive by its file name. Raises `InvalidValue` for others."""
    for ending, form in _ENDINGS:
        if name.lower().endswith(ending):
            return form
    raise InvalidValue(
        N_("{name} is no archive that FLM unpacks."),
        remedy=N_("Give a .tgz, a .tar.zst or a .zip."),
        name=name,
    )


def unpack(archive: Path, folder: Path, told: Told, limits: Limits | None = None) -> None:
    """Unpack `archive` into `folder`, which is there; several may go into one.

    Files get mode 0600 or 0700, links stay within. Blocking. Raises `UserError`
    (`archive_unsafe`, `archive_damaged`) and `OSError`; what was written until then stays.
    """
    form = format_of(archive.name)
    into = _Folder(archive.name, folder, told, limits or Limits())
    try:
        if form == "zip":
            _unpack_zip(archive, into)
        else:
            _unpack_tar(archive, form, into)
        into.check_links()
    except _DAMAGED as error:
        raise _damaged(archive.name, error) from error


def _unpack_tar(archive: Path, form: Format, into: _Folder) -> None:
    with _tar(archive, form) as tar:
        for member in tar:
            name = into.enter(member.name)
            if member.isdir():
                into.make(name)
                continue
            tarfile.data_filter(member, str(into.path))  # raises for what is unsafe
            if member.issym():
                into.link(name, member.linkname)
            elif member.islnk():
                into.copy(name, member.linkname)
            elif member.isreg():
                content = tar.extractfile(member)
                assert content is not None, "a regular file has content"
                into.write(name, content, bool(member.mode & 0o111))
            else:
                raise into.unsafe(member.name)


@contextlib.contextmanager
def _tar(archive: Path, form: Format) -> Iterator[tarfile.TarFile]:
    if not hasattr(tarfile, "data_filter"):
        raise UserError(
            N_("This Python is too old to unpack archives safely."),
            remedy=N_("Use Python 3.11.4 or newer."),
        )
    if form == "tgz":
        with tarfile.open(archive, "r:gz") as tar:
            yield tar
        return
    with _zstd(archive) as plain, tarfile.open(fileobj=plain, mode="r|") as tar:
        yield tar


@contextlib.contextmanager
def _zstd(archive: Path) -> Iterator[IO[bytes]]:
    from flm.engines import zstd

    try:
        with zstd.opened(archive) as plain:
            yield plain
    except zstd.DAMAGED as error:
        raise _damaged(archive.name, error) from error


def _unpack_zip(archive: Path, into: _Folder) -> None:
    with zipfile.ZipFile(archive) as packed:
        for member in packed.infolist():
            name = into.enter(member.filename)
            mode = member.external_attr >> 16
            if member.is_dir():
                into.make(name)
            elif stat.S_IFMT(mode) not in (0, stat.S_IFREG):
                raise into.unsafe(member.filename)
            else:
                with packed.open(member) as content:
                    into.write(name, content, bool(mode & 0o111))


class _Folder:
    """Where an archive is unpacked: everything that is written goes through here."""

    def __init__(self, archive: str, path: Path, told: Told, limits: Limits) -> None:
        self.path = path
        self._archive = archive
        self._told = told
        self._limits = limits
        self._entries = 0
        self._size = 0
        self._links: list[str] = []

    def enter(self, name: str) -> str:
        """The entry's name within the folder, '' for the folder itself."""
        self._entries += 1
        if self._entries > self._limits.entries or len(name) > self._limits.name:
            raise self._too_much()
        clean = posixpath.normpath(name) if name else ""
        clean = "" if clean == "." else clean
        if not name or name.startswith("/") or ".." in name.split("/"):
            raise self.unsafe(name)
        if _UNSAFE.search(clean) or not name.isprintable():
            raise self.unsafe(name)
        return clean

    def make(self, name: str) -> None:
        """A folder, and those above it."""
        place = self.path
        for part in name.split("/") if name else ():
            place = place / part
            with contextlib.suppress(FileExistsError):
                place.mkdir(mode=0o700)
            if not stat.S_ISDIR(place.lstat().st_mode):
                raise self.unsafe(name)

    def write(self, name: str, content: _Reader, executable: bool) -> None:
        """A file that is not there yet."""
        place = self._new(name)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
        try:
            descriptor = os.open(place, flags, 0o700 if executable else 0o600)
        except FileExistsError:
            raise self.unsafe(name) from None
        with os.fdopen(descriptor, "wb") as file:
            while block := content.read(_BLOCK):
                self._size += len(block)
                if self._size > self._limits.size:
                    raise self._too_much()
                file.write(block)
                self._told(self._size)
            file.flush()
            os.fsync(file.fileno())

    def copy(self, name: str, of: str) -> None:
        """A hard link becomes a second file: of what is unpacked already, by its whole name."""
        original = self.path / self._existing(of)
        with original.open("rb") as content:
            self.write(name, content, bool(original.stat().st_mode & 0o100))

    def link(self, name: str, to: str) -> None:
        """A symbolic link that leads to something within."""
        end = posixpath.normpath(posixpath.join(posixpath.dirname(name), to))
        if not to or to.startswith("/") or "\\" in to or end == ".." or end.startswith("../"):
            raise self.unsafe(name)
        place = self._new(name)
        try:
            place.symlink_to(to)
        except FileExistsError:
            raise self.unsafe(name) from None
        self._links.append(name)

    def check_links(self) -> None:
        """What a link leads to in the end, over others too, lies within."""
        root = self.path.resolve()
        for name in self._links:
            try:
                end = (self.path / name).resolve(strict=True)
            except (OSError, RuntimeError):  # leads nowhere, or in a circle
                raise self.unsafe(name) from None
            if not end.is_relative_to(root):
                raise self.unsafe(name)

    def unsafe(self, name: str) -> UserError:
        """The error for an entry that is not taken."""
        return UserError(
            N_("{archive} holds something that no such archive should: {name!r}."),
            remedy=N_("Nothing of it is used. Check where it comes from."),
            code="archive_unsafe",
            archive=self._archive,
            name=name[:200],
        )

    def _new(self, name: str) -> Path:
        if not name:
            raise self.unsafe(name)
        self.make(posixpath.dirname(name))
        return self.path / name

    def _existing(self, name: str) -> str:
        """The name of a file that was unpacked, on a way without links."""
        clean = posixpath.normpath(name)
        parts = clean.split("/")
        try:
            modes = [
                (self.path / posixpath.join(*parts[: n + 1])).lstat().st_mode
                for n in range(len(parts))
            ]
        except OSError:
            raise self.unsafe(name) from None
        if clean.startswith("/") or ".." in parts or not stat.S_ISREG(modes[-1]):
            raise self.unsafe(name)
        if not all(stat.S_ISDIR(mode) for mode in modes[:-1]):
            raise self.unsafe(name)
        return clean

    def _too_much(self) -> UserError:
        return UserError(
            N_("{archive} holds more than such an archive should."),
            remedy=N_("Nothing of it is used. Check where it comes from."),
            code="archive_unsafe",
            archive=self._archive,
        )


def _damaged(name: str, error: BaseException) -> UserError:
    code = "archive_unsafe" if isinstance(error, tarfile.FilterError) else "archive_damaged"
    return UserError(
        N_("{archive} cannot be unpacked: {reason}."),
        remedy=N_("Nothing of it is used. Check where it comes from, and try again."),
        code=code,
        archive=name,
        reason=str(error).rstrip(".") or type(error).__name__,
    )
