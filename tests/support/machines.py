"""Machines that a test makes up: Linux, macOS or Windows, with the files it says, nothing else."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass, field

from flm.ports.machine import Host, Listener, Platform

HOMES: Mapping[Platform, str] = {
    "linux": "/home/you",
    "darwin": "/Users/you",
    "win32": r"C:\Users\you",
}


@dataclass(frozen=True)
class MadeUp:
    """Implements `flm.ports.machine.Machine`. ``files``: path → text; ``programs``: name → path
    of those on PATH. A folder is where a file lies, or what ``folders`` names.
    """

    platform: Platform = "linux"
    environment: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    folders: tuple[str, ...] = ()
    programs: Mapping[str, str] = field(default_factory=dict)
    services: tuple[str, ...] = ()
    listening: tuple[Listener, ...] = ()
    around: tuple[Host, ...] = ()
    own_pid: int = 4711

    @property
    def home(self) -> str:
        """The user's folder, as it is called on that system."""
        return HOMES[self.platform]

    def which(self, name: str) -> str | None:
        """What the test put on PATH."""
        return self.programs.get(name)

    def is_file(self, path: str) -> bool:
        """Whether the test put it there; Windows writes a path either way."""
        return _one(path) in {_one(file) for file in self.files}

    def is_folder(self, path: str) -> bool:
        """Whether the test named it, or put something into it."""
        inside = _one(path).rstrip("/") + "/"
        named = {_one(folder).rstrip("/") + "/" for folder in self.folders}
        return inside in named or any(_one(file).startswith(inside) for file in self.files)

    def matching(self, pattern: str) -> tuple[str, ...]:
        """The files that match."""
        return tuple(
            sorted(file for file in self.files if fnmatch.fnmatchcase(_one(file), _one(pattern)))
        )

    def read(self, path: str, limit: int = 64 << 10) -> str | None:
        """The text the test put there."""
        texts = {_one(file): text for file, text in self.files.items()}
        text = texts.get(_one(path))
        return None if text is None else text[:limit]

    def has_service(self, name: str) -> bool:
        """What the test named."""
        return name in self.services

    def listeners(self) -> tuple[Listener, ...]:
        """What the test named."""
        return self.listening

    def hosts(self) -> tuple[Host, ...]:
        """What the test named."""
        return self.around


def _one(path: str) -> str:
    return path.replace("\\", "/")
