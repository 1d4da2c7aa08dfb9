"""Where an Ollama listens on this machine, and where its program lies."""

from __future__ import annotations

import ipaddress
import re

import msgspec

from flm.domain.addresses import is_address
from flm.domain.engines import Address
from flm.ports.engines import Installation
from flm.ports.machine import Machine

PORT = 11434
LOOPBACK = ("127.0.0.1", "::1")

MAC_APP = "Ollama.app"
WINDOWS_APP = "ollama app.exe"
SERVICE = "ollama"
BREW_SERVICE = "homebrew.mxcl.ollama"

_LINUX_PROGRAMS = ("/usr/local/bin/ollama", "/usr/bin/ollama", "/snap/bin/ollama")
_BREW = ("/opt/homebrew/", "/usr/local/Cellar/", "/usr/local/opt/")


class Version(msgspec.Struct):
    """`/api/version`."""

    version: str


def places(machine: Machine) -> tuple[Address, ...]:
    """The address in `OLLAMA_HOST`, as Ollama itself reads it, then the usual port."""
    usual = tuple(Address(host, PORT) for host in LOOPBACK)
    told = addresses_in(machine.environment.get("OLLAMA_HOST", ""))
    return tuple(dict.fromkeys((*told, *usual)))


def addresses_in(variable: str) -> tuple[Address, ...]:
    """The addresses on this machine that `OLLAMA_HOST` names, () for other hosts and HTTPS.

    Ollama's `envconfig.Host`: quotes and blanks around it do not count; without a scheme the
    port is 11434, with `http://` it is 80; a port that is none is replaced by that default;
    where it listens on all addresses, clients use loopback.
    """
    text = variable.strip().strip("\"'").strip()
    scheme, mark, rest = text.partition("://")
    if not text or (mark and scheme != "http"):
        return ()
    default = 80 if mark else PORT
    place, _, path = (rest if mark else text).partition("/")
    host, port = _split(place, default)
    prefix = f"/{path.rstrip('/')}" if path.rstrip("/") else ""
    return tuple(Address(each, port, prefix) for each in _local(host))


def _split(place: str, default: int) -> tuple[str, int]:
    """Host and port of `host`, `host:port`, `[v6]:port`, `:port` or a bare IPv6 address."""
    bare = place.strip("[]")
    if is_address(bare) or ":" not in place:
        return bare, default
    host, _, port = place.rpartition(":")
    number = int(port) if re.fullmatch("[0-9]{1,5}", port) else default
    return host.strip("[]"), number if 0 < number <= 65_535 else default


def _local(host: str) -> tuple[str, ...]:
    if host in ("", "localhost", "0.0.0.0", "::"):  # noqa: S104 - what it listens on, not we
        return LOOPBACK
    return (host,) if is_address(host) and ipaddress.ip_address(host).is_loopback else ()


def installed(machine: Machine) -> Installation | None:
    """The `ollama` program: on PATH, or where its installers put it, and what keeps it running."""
    if machine.platform == "darwin":
        return _on_macos(machine)
    if machine.platform == "win32":
        return _on_windows(machine)
    program = machine.which("ollama") or _first(
        machine, *_LINUX_PROGRAMS, f"{machine.home}/.local/bin/ollama"
    )
    if program is None:
        return None
    return Installation(program=program, service=SERVICE if machine.has_service(SERVICE) else None)


def _on_macos(machine: Machine) -> Installation | None:
    """The app links its program to /usr/local/bin and starts it again; Homebrew's is no app's."""
    apps = (f"/Applications/{MAC_APP}", f"{machine.home}/Applications/{MAC_APP}")
    app = next((each for each in apps if machine.is_folder(each)), None)
    inside = f"{app}/Contents/Resources/ollama"
    program = machine.which("ollama") or _first(
        machine, *((inside,) if app else ()), "/opt/homebrew/bin/ollama", "/usr/local/bin/ollama"
    )
    if program is None:
        return None
    brewed = program.startswith(_BREW)
    return Installation(
        program=program,
        service=BREW_SERVICE if brewed and machine.has_service(BREW_SERVICE) else None,
        managed_by=MAC_APP if app and not brewed else None,
    )


def _on_windows(machine: Machine) -> Installation | None:
    local = machine.environment.get("LOCALAPPDATA") or rf"{machine.home}\AppData\Local"
    folder = rf"{local}\Programs\Ollama"
    program = machine.which("ollama") or _first(machine, rf"{folder}\ollama.exe")
    if program is None:
        return None
    beside = program.rpartition("\\")[0] or folder
    app = _first(machine, rf"{beside}\{WINDOWS_APP}")
    return Installation(program=program, managed_by=WINDOWS_APP if app else None)


def _first(machine: Machine, *paths: str) -> str | None:
    return next((path for path in paths if machine.is_file(path)), None)
