"""The user's files on this machine. Implements `flm.ports.user_files.UserFiles`."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from flm.errors import N_, Conflict, InvalidValue, NotPermitted
from flm.ports.user_files import Seen

LARGEST = 4 << 20
_PRIVATE = 0o600
_FOLDER = 0o700


class LocalUserFiles:
    """Files of the user who runs this process."""

    def read(self, path: str) -> Seen | None:
        """Links are followed; a file of another user's is not opened."""
        target = os.path.realpath(path)
        with _told(path):
            try:
                found = Path(target).stat()
            except (FileNotFoundError, NotADirectoryError):
                return None
            _check_owner(target, found)
            if not stat.S_ISREG(found.st_mode) or found.st_size > LARGEST:
                raise InvalidValue(
                    N_("{path} is no file of at most {limit} MB, so it is left alone."),
                    path=target,
                    limit=LARGEST >> 20,
                )
            return Seen(path, target, Path(target).read_bytes(), stat.S_IMODE(found.st_mode))

    def replace(self, path: str, data: bytes, mode: int, was: Seen | None) -> tuple[str, ...]:
        """A temporary file beside it, synced and renamed over it."""
        target = Path(os.path.realpath(path))
        with _told(path):
            made = _make_folders(target.parent)
            _check_owner(str(target.parent), target.parent.stat())
            temporary = target.with_name(f".{target.name}.flm-{secrets.token_hex(6)}")
            try:
                _write_new(temporary, data, mode)
                self._check_same(path, was)
                temporary.replace(target)
            except BaseException:  # Ctrl-C too: the draft may hold a key
                temporary.unlink(missing_ok=True)
                raise
            _sync_folder(target.parent)
            return made

    def back_up(self, was: Seen, suffix: str) -> str:
        """The first free name of `path.suffix`, `path.suffix-2` …"""
        with _told(was.path):
            for number in range(1, 1_000):
                more = "" if number == 1 else f"-{number}"
                copy = Path(f"{was.path}.{suffix}{more}")
                with contextlib.suppress(FileExistsError):
                    _write_new(copy, was.data, _PRIVATE)
                    return str(copy)
        raise Conflict(N_("There are too many backups beside {path}."), path=was.path)

    def remove(self, was: Seen, folders: Sequence[str]) -> None:
        """Folders that hold something stay."""
        with _told(was.path):
            self._check_same(was.path, was)
            Path(was.target).unlink()
        for folder in reversed(folders):
            with contextlib.suppress(OSError):
                Path(folder).rmdir()

    def _check_same(self, path: str, was: Seen | None) -> None:
        now = self.read(path)
        if (now.data if now else None) != (was.data if was else None):
            raise Conflict(
                N_("{path} was changed by another program just now, so it is left alone."),
                remedy=N_("Run the command again."),
                code="file_changed",
                path=path,
            )


def _write_new(path: Path, data: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, _PRIVATE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    path.chmod(mode)


def _make_folders(folder: Path) -> tuple[str, ...]:
    """Those that were missing, made for this user only, outermost first."""
    missing: list[Path] = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    if missing:
        _check_owner(str(folder), folder.stat())
    for each in reversed(missing):
        each.mkdir(mode=_FOLDER)
    return tuple(str(each) for each in reversed(missing))


def _sync_folder(folder: Path) -> None:
    """Windows has no such thing."""
    if sys.platform != "win32":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _check_owner(path: str, found: os.stat_result) -> None:
    """On Windows the profile's access list does it."""
    if sys.platform != "win32" and found.st_uid != os.geteuid():
        raise NotPermitted(
            N_("{path} belongs to another user, so it is left alone."),
            remedy=N_("Run the command as the user whose settings they are."),
            path=path,
        )


@contextmanager
def _told(path: str) -> Iterator[None]:
    """What the system refuses, as a sentence."""
    try:
        yield
    except OSError as error:
        raise InvalidValue(
            N_("{path} cannot be read or written: {why}."),
            path=error.filename or path,
            why=error.strerror or str(error),
        ) from error
