"""The machine FLM runs on, by its own files and tables. Nothing is run to find out."""

from __future__ import annotations

import glob
import os
import shutil
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

from flm.ports.machine import Host, Listener, Platform
from flm.ports.processes.listening import Listening
from flm.ports.processes.surroundings import surroundings

_PLATFORMS: Mapping[str, Platform] = {"win32": "win32", "darwin": "darwin"}
_OWN = frozenset(("flm", "flm-gateway"))
_UNITS = (
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
    "/etc/systemd/user",
    "/usr/lib/systemd/user",
    "~/.config/systemd/user",
    "~/.local/share/systemd/user",
)
_AGENTS = ("~/Library/LaunchAgents", "/Library/LaunchAgents", "/Library/LaunchDaemons")


class LocalMachine:
    """Implements `flm.ports.machine.Machine`. ``environment``: the variables that count here."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._listening = Listening()

    @property
    def platform(self) -> Platform:
        """Every other Unix is taken for a Linux."""
        return _PLATFORMS.get(sys.platform, "linux")

    @property
    def home(self) -> str:
        """The user's folder."""
        name = "USERPROFILE" if self.platform == "win32" else "HOME"
        return self._environment.get(name) or str(Path("~").expanduser())

    @property
    def environment(self) -> Mapping[str, str]:
        return self._environment

    @property
    def own_pid(self) -> int:
        return os.getpid()

    def which(self, name: str) -> str | None:
        """The first on PATH; of FLM's own names the first that lies elsewhere."""
        folders = self._environment.get("PATH", os.defpath).split(os.pathsep)
        if name in _OWN:
            own = {Path(sysconfig.get_path("scripts")), Path(sys.executable).parent}
            folders = [each for each in folders if each and Path(each) not in own]
        return shutil.which(name, path=os.pathsep.join(folders)) if folders else None

    def is_file(self, path: str) -> bool:
        try:
            return Path(path).is_file()
        except (OSError, ValueError):
            return False

    def is_folder(self, path: str) -> bool:
        try:
            return Path(path).is_dir()
        except (OSError, ValueError):
            return False

    def matching(self, pattern: str) -> tuple[str, ...]:
        try:
            return tuple(sorted(glob.glob(pattern)))  # noqa: PTH207 - patterns begin at a root
        except (OSError, ValueError):
            return ()

    def read(self, path: str, limit: int = 64 << 10) -> str | None:
        try:
            with Path(path).open("rb") as file:
                return file.read(limit).decode("utf-8", "replace")
        except (OSError, ValueError):
            return None

    def has_service(self, name: str) -> bool:
        """By the unit's file; on Windows by the service manager's own list."""
        if self.platform == "win32":
            import psutil

            try:
                psutil.win_service_get(name)
            except (psutil.Error, OSError):
                return False
            return True
        if self.platform == "darwin":
            found = (f"{self._at_home(folder)}/*{name}.plist" for folder in _AGENTS)
            return any(self.matching(pattern) for pattern in found)
        return any(self.is_file(f"{self._at_home(each)}/{name}.service") for each in _UNITS)

    def listeners(self) -> tuple[Listener, ...]:
        return self._listening.now()

    def hosts(self) -> tuple[Host, ...]:
        return surroundings(self) if self.platform == "linux" else ()

    def _at_home(self, path: str) -> str:
        return self.home + path[1:] if path.startswith("~") else path
