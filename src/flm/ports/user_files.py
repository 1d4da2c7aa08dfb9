"""Files that belong to the user and to other programs: a client's settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Seen(NamedTuple):
    """A file as it was read. ``target``: where it really lies when ``path`` is a link."""

    path: str
    target: str
    data: bytes
    mode: int


class UserFiles(Protocol):
    """Reads and replaces such files, never another user's.

    Every method raises `NotPermitted` for a file or folder of another user's, root's own included,
    and `InvalidValue` for what is no plain file, is too large, or cannot be read or written.
    """

    def read(self, path: str) -> Seen | None:
        """The file, links followed; None when there is none."""
        ...

    def replace(self, path: str, data: bytes, mode: int, was: Seen | None) -> tuple[str, ...]:
        """Put `data` in its place at once: readers see the old file or the new one.

        ``was``: what was read; raises `Conflict` when that is no longer so. Returns the folders
        that had to be made, outermost first.
        """
        ...

    def back_up(self, was: Seen, suffix: str) -> str:
        """A copy beside `was.path`, for this user only; its path."""
        ...

    def remove(self, was: Seen, folders: Sequence[str]) -> None:
        """Remove a file that is still as it `was`, and those of the folders that are empty then."""
        ...
