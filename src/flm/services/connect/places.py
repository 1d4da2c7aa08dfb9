"""Where clients keep their settings: pure functions of platform, variables and home."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath, PurePosixPath, PureWindowsPath

from flm.ports.machine import Platform
from flm.services.connect.situation import Situation


def pure(platform: Platform, path: str) -> PurePath:
    """A path in that platform's form, whatever this machine is."""
    return PureWindowsPath(path) if platform == "win32" else PurePosixPath(path)


def of_home(situation: Situation, *parts: str) -> str:
    """A path below the user's folder."""
    return str(pure(situation.platform, situation.home).joinpath(*parts))


def folder(situation: Situation, variable: str, *parts: str) -> PurePath:
    """The folder that `variable` names when it is absolute, else the one below home."""
    named = _absolute(situation.platform, situation.environ, variable)
    return named or pure(situation.platform, situation.home).joinpath(*parts)


def config_folder(situation: Situation) -> PurePath:
    """Where programs that follow the platform keep settings: XDG's, or roaming application data.

    On macOS this is `~/.config` too: the one client that asks for it lives there.
    """
    platform, environ = situation.platform, situation.environ
    home = pure(platform, situation.home)
    if platform == "win32":
        return _absolute(platform, environ, "APPDATA") or home.joinpath("AppData", "Roaming")
    if platform == "darwin":
        return home / ".config"
    flatpak = _absolute(platform, environ, "FLATPAK_XDG_CONFIG_HOME")
    return flatpak or _absolute(platform, environ, "XDG_CONFIG_HOME") or home / ".config"


def _absolute(platform: Platform, environ: Mapping[str, str], variable: str) -> PurePath | None:
    given = environ.get(variable)
    path = pure(platform, given) if given else None
    return path if path is not None and path.is_absolute() else None
