"""Where a text-generation-webui listens on this machine, and where its folder lies."""

from __future__ import annotations

from collections.abc import Iterable

from flm.domain.engines import Address
from flm.engines.places import at_home, joined, on_loopback, port_in
from flm.ports.engines import Installation
from flm.ports.machine import Machine

PORT = 5000
_MARKS = ("server.py", "modules/api/script.py")
"""What makes a folder one of it: a `server.py` alone is anybody's."""

_FOLDERS = (
    *("~/text-generation-webui", "~/textgen", "~/text-generation-webui-*", "~/textgen-*"),
    *("~/*/text-generation-webui", "~/*/text-generation-webui-*", "~/*/textgen-*"),
    *("/opt/text-generation-webui", "/srv/text-generation-webui"),
)


def places(machine: Machine) -> tuple[Address, ...]:
    """The port in `OPENEDAI_PORT`, then 5000, on both loopback addresses."""
    return on_loopback(port_in(machine.environment.get("OPENEDAI_PORT", "")), PORT)


def installed(machine: Machine) -> Installation | None:
    """Its folder: it has no installer, so only those in usual places can be found."""
    found = (folder for folder in _candidates(machine) if _is_one(machine, folder))
    folder = next(found, None)
    return None if folder is None else Installation(program=folder)


def _candidates(machine: Machine) -> Iterable[str]:
    for folder in _FOLDERS:
        path = at_home(machine, folder)
        if "*" not in path:
            yield path
            continue
        servers = machine.matching(joined(machine, path, "server.py"))
        yield from (server[: -len("/server.py")] for server in reversed(servers))


def _is_one(machine: Machine, folder: str) -> bool:
    return all(machine.is_file(joined(machine, folder, *mark.split("/"))) for mark in _MARKS)
