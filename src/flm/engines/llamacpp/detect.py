"""Where a llama-server listens on this machine, and where its program lies."""

from __future__ import annotations

from flm.domain.engines import Address
from flm.engines.places import at_home, joined, on_loopback, port_in, program
from flm.ports.engines import Installation
from flm.ports.machine import Machine

PORTS = (8080, 9931)
"""The default until summer 2026, and since."""

PROGRAM = "llama-server"
SERVICE = "llama-server"

_FOLDERS = (
    *("/usr/local/bin", "/usr/bin", "/opt/homebrew/bin", "/home/linuxbrew/.linuxbrew/bin"),
    *("~/.local/bin", "~/llama.cpp/build/bin", "~/src/llama.cpp/build/bin", "/opt/llama.cpp/bin"),
    *("/opt/llama.cpp", "/opt/llama.cpp/build/bin"),
)
_FOLDERS_WINDOWS = (
    *("~\\AppData\\Local\\Microsoft\\WinGet\\Links", "~\\llama.cpp", "C:\\llama.cpp"),
    "~\\llama.cpp\\build\\bin\\Release",
)
_UNIFIED = ("~/.local/bin/llama", "~\\AppData\\Local\\llama-app\\llama.exe")
"""Where its own installer puts `llama`: the name is too common to be trusted on PATH."""


def places(machine: Machine) -> tuple[Address, ...]:
    """The port in `LLAMA_CPP_PORT`, then 8080 and 9931, each on both loopback addresses."""
    return on_loopback(port_in(machine.environment.get("LLAMA_CPP_PORT", "")), *PORTS)


def installed(machine: Machine) -> Installation | None:
    """`llama-server` where `LLAMA_CPP_PATH` says, on PATH or in a usual place; else `llama`."""
    windows = machine.platform == "win32"
    found = (
        _told(machine)
        or program(machine, PROGRAM, _FOLDERS_WINDOWS if windows else _FOLDERS)
        or _unified(machine, _UNIFIED[windows])
    )
    if found is None:
        return None
    return Installation(program=found, service=SERVICE if machine.has_service(SERVICE) else None)


def _told(machine: Machine) -> str | None:
    told = at_home(machine, machine.environment.get("LLAMA_CPP_PATH", "").strip())
    if not told:
        return None
    name = f"{PROGRAM}.exe" if machine.platform == "win32" else PROGRAM
    inside = (joined(machine, told, name), joined(machine, told, "build", "bin", name))
    return next((path for path in (told, *inside) if machine.is_file(path)), None)


def _unified(machine: Machine, place: str) -> str | None:
    path = at_home(machine, place)
    return path if machine.is_file(path) else None
