"""What can be known of the machine FLM runs on: its files, programs, services and listeners.

Detection asks only through this port, so that a test can be macOS or Windows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol

import msgspec

Platform = Literal["linux", "darwin", "win32"]


class Listener(msgspec.Struct, frozen=True, kw_only=True):
    """A listening TCP socket. ``host`` `0.0.0.0` or `::`: on every address.

    ``chain``: pid and name of its process and of those above it, () where that cannot be known; a
    Python program goes by its module's or script's name. ``mark`` is another one as soon as
    another socket is in its place; '' where that cannot be known.
    """

    host: str
    port: int
    chain: tuple[tuple[int, str], ...] = ()
    mark: str = ""


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """The machine around a container or WSL2, as an address to try. ``how``: `container`, `wsl`."""

    address: str
    how: Literal["container", "wsl"]


class Machine(Protocol):
    """This machine. Every method may be asked again and again; none raises."""

    @property
    def platform(self) -> Platform: ...
    @property
    def home(self) -> str: ...
    @property
    def environment(self) -> Mapping[str, str]: ...
    @property
    def own_pid(self) -> int: ...

    def which(self, name: str) -> str | None:
        """The path of a program on PATH, never run. FLM's own programs do not count."""
        ...

    def is_file(self, path: str) -> bool: ...
    def is_folder(self, path: str) -> bool: ...
    def matching(self, pattern: str) -> tuple[str, ...]:
        """The paths that match a pattern with `*` in it, sorted."""
        ...

    def read(self, path: str, limit: int = 64 << 10) -> str | None:
        """The beginning of a text file, None when it cannot be read."""
        ...

    def has_service(self, name: str) -> bool:
        """Whether the service manager (systemd, launchd, Windows) knows a unit of that name."""
        ...

    def listeners(self) -> tuple[Listener, ...]:
        """Who listens here, as far as this user may know."""
        ...

    def hosts(self) -> tuple[Host, ...]:
        """The machine around us where we are in WSL2 or a container; () elsewhere."""
        ...
