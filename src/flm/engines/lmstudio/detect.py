"""Where LM Studio listens on this machine, and where it is installed. `lms` is never run:
most of its commands start LM Studio.
"""

from __future__ import annotations

import re

import msgspec

from flm.domain.engines import Address
from flm.engines.answers import decoded
from flm.ports.engines import Installation
from flm.ports.machine import Machine

PORT = 1234
LOOPBACK = ("127.0.0.1", "::1")

_HOST = re.compile(
    r"(?:http://)?(?P<host>\[[0-9a-fA-F:]+\]|[^/:\[\]]*)(?::(?P<port>[0-9]{1,5}))?/?.*"
)
_EVERYWHERE = ("", "localhost", "0.0.0.0", "::")  # noqa: S104 - what it listens on, not we


class _Config(msgspec.Struct):
    """`.internal/http-server-config.json`: the port it was last told to use."""

    port: int


def places(machine: Machine) -> tuple[Address, ...]:
    """The address in `LMSTUDIO_API_HOST`, the port in its settings, then the usual one."""
    told = addresses_in(machine.environment.get("LMSTUDIO_API_HOST", ""))
    kept = machine.read(f"{home(machine)}/.internal/http-server-config.json")
    config = decoded(kept.encode(), _Config) if kept is not None else None
    ports = (config.port, PORT) if config is not None and _is_port(config.port) else (PORT,)
    usual = (Address(host, port) for port in ports for host in LOOPBACK)
    return tuple(dict.fromkeys((*told, *usual)))


def addresses_in(variable: str) -> tuple[Address, ...]:
    """The addresses on this machine in `host:port`, also with `http://` and a path; () for other
    hosts. Without a port it is 1234.
    """
    text = variable.strip().strip("\"'").strip()
    match = _HOST.fullmatch(text)
    if not text or match is None or text.startswith("https:"):
        return ()
    host = match["host"].strip("[]").lower()
    port = int(match["port"]) if match["port"] else PORT
    if not _is_port(port):
        return ()
    if host in _EVERYWHERE:
        return tuple(Address(each, port) for each in LOOPBACK)
    return tuple(each for each in (Address(host, port),) if each.is_loopback)


def _is_port(number: int) -> bool:
    return 0 < number <= 65_535


def home(machine: Machine) -> str:
    """Its own folder: the one its pointer names, `~/.lmstudio`, or that of old versions."""
    pointed = (machine.read(f"{machine.home}/.lmstudio-home-pointer") or "").strip()
    old = f"{machine.home}/.cache/lm-studio"
    usual = f"{machine.home}/.lmstudio"
    for folder in (pointed, usual, old):
        if folder and machine.is_folder(folder):
            return folder
    return usual


def installed(machine: Machine) -> Installation | None:
    """Its program `lms` where it is there, else the app: only the first can be started."""
    program = f"{home(machine)}/bin/lms"
    if machine.platform == "win32":
        program = f"{program}.exe".replace("/", "\\")
    if machine.is_file(program):
        return Installation(program=program)
    found = machine.which("lms")
    if found is not None and re.search(r"lm-?studio", found, re.IGNORECASE):
        return Installation(program=found)  # others too have a program called lms
    app = _app(machine)
    return None if app is None else Installation(program=app)


def _app(machine: Machine) -> str | None:
    own = machine.home
    if machine.platform == "darwin":
        apps = ("/Applications/LM Studio.app", f"{own}/Applications/LM Studio.app")
        return next((app for app in apps if machine.is_folder(app)), None)
    if machine.platform == "win32":
        local = machine.environment.get("LOCALAPPDATA") or rf"{own}\AppData\Local"
        programs = machine.environment.get("PROGRAMFILES") or r"C:\Program Files"
        folders = (rf"{local}\Programs\LM Studio", rf"{programs}\LM Studio")
        found = (rf"{folder}\LM Studio.exe" for folder in folders)
        return next((program for program in found if machine.is_file(program)), None)
    fixed = ("/usr/bin/lm-studio", "/opt/LM-Studio/lm-studio", "/opt/lm-studio/lm-studio")
    carried = [
        image
        for folder in (f"{own}/Applications", f"{own}/.local/bin", own, f"{own}/Downloads")
        for image in machine.matching(f"{folder}/LM[-_ ]Studio*.AppImage")
    ]
    return next((path for path in fixed if machine.is_file(path)), None) or next(
        reversed(carried), None
    )
