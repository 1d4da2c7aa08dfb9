"""What can be installed, and how it is unpacked, as the services need it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import msgspec


class Archive(msgspec.Struct, frozen=True):
    """A file of a release: where it is, its checksum (SHA-256 in hexadecimal), its name."""

    url: str
    sha256: str
    name: str


class Release(msgspec.Struct, frozen=True):
    """A version, and the archives that make it up; all are unpacked into one folder."""

    version: str
    archives: tuple[Archive, ...]


class Releases(Protocol):
    """Where the releases of one program come from."""

    @property
    def programs(self) -> tuple[str, ...]:
        """Where the program may lie in the folder, likeliest first."""
        ...

    async def find(self, version: str | None) -> Release:
        """A release for this machine, None: the newest.

        Raises `UserError` when there is none, when it cannot be asked for, and when nobody tells
        its checksum.
        """
        ...


Unpack = Callable[[Path, Path, Callable[[int], None]], None]
"""Unpacks an archive into a folder, telling the bytes so far; whatever that raises ends it."""

RunningFrom = Callable[[Path], tuple[int, ...]]
"""The processes of this user whose program lies below a folder."""
