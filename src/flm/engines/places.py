"""Where engines listen and lie on this machine, for all kinds alike. Nothing is asked or run."""

from __future__ import annotations

import ntpath
import posixpath
import re
from collections.abc import Iterable

from flm.domain.engines import Address
from flm.ports.machine import Machine

LOOPBACK = ("127.0.0.1", "::1")
_WILDCARDS = ("", "localhost", "0.0.0.0", "::", "[::]")  # noqa: S104 - what they listen on
_LOCAL = re.compile(r"127\.\d{1,3}\.\d{1,3}\.\d{1,3}")


def on_loopback(*ports: int | None) -> tuple[Address, ...]:
    """Each port once, in order, on both loopback addresses; None is left out."""
    known = dict.fromkeys(port for port in ports if port is not None)
    return tuple(Address(host, port) for port in known for host in LOOPBACK)


def port_in(text: str) -> int | None:
    """The port a variable names, None when it names none."""
    text = text.strip()
    found = int(text) if re.fullmatch("[0-9]{1,5}", text) else 0
    return found if 0 < found <= 65_535 else None


def local_hosts(text: str) -> tuple[str, ...]:
    """The addresses of this machine that clients of a server bound to `text` connect to.

    A server on all addresses is reached over loopback; another machine's name gives ().
    """
    host = text.strip().lower()
    if host in _WILDCARDS:
        return LOOPBACK
    bare = host.strip("[]")
    return (bare,) if bare == "::1" or _LOCAL.fullmatch(bare) else ()


def program(machine: Machine, name: str, folders: Iterable[str]) -> str | None:
    """The program of that name: on PATH, else in the first of the `folders` that has it.

    `~` is the user's home; a folder with `*` in it stands for all that match, newest name first.
    """
    found = machine.which(name)
    if found is not None:
        return found
    file = f"{name}.exe" if machine.platform == "win32" else name
    return next((path for path in _files(machine, file, folders) if machine.is_file(path)), None)


def _files(machine: Machine, file: str, folders: Iterable[str]) -> Iterable[str]:
    for folder in folders:
        pattern = joined(machine, at_home(machine, folder), file)
        yield from reversed(machine.matching(pattern)) if "*" in pattern else (pattern,)


def at_home(machine: Machine, path: str) -> str:
    """`path` as that platform writes it, with the user's home for a leading `~`."""
    whole = machine.home + path[1:] if path.startswith("~") else path
    return whole.replace("/", "\\") if machine.platform == "win32" else whole


def joined(machine: Machine, *parts: str) -> str:
    """The parts as one path of that machine's platform."""
    return ntpath.join(*parts) if machine.platform == "win32" else posixpath.join(*parts)
