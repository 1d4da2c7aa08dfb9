"""Binding the API's listening sockets, also when a killed predecessor's gateway has them still."""

from __future__ import annotations

import asyncio
import errno
import socket
from pathlib import Path

from flm.errors import N_, Conflict, InvalidValue
from flm.ports.clock import Clock
from flm.ports.processes import Processes
from flm.wire.journal import LOCK

BACKLOG = 4096
PREDECESSOR_SECONDS = 5.0
LOOK_SECONDS = 0.05


async def bind(
    processes: Processes, clock: Clock, host: str, port: int, journal: Path
) -> socket.socket:
    """A listening socket on `host`:`port`; `port` 0 takes a free one.

    While a gateway of this data directory lives without its controller (its journal is locked),
    it may hold the port for a moment: that is waited for, up to 5 s. Raises `Conflict` naming
    the program that has the port where it can be known.
    """
    deadline = clock.monotonic() + PREDECESSOR_SECONDS
    while True:
        try:
            return processes.listen(host, port, BACKLOG)
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise _unusable(host, port, error) from error
            predecessor = gateways_left(processes, journal)
            if not predecessor or clock.monotonic() >= deadline:
                raise await _taken(processes, host, port, error) from error
        await asyncio.sleep(LOOK_SECONDS)


def gateways_left(processes: Processes, journal: Path) -> bool:
    """Whether a gateway of this data directory lives: it holds its journal's lock."""
    if not journal.is_dir():
        return False
    return any(processes.is_locked(folder / LOCK) for folder in journal.iterdir())


async def _taken(processes: Processes, host: str, port: int, error: OSError) -> Exception:
    if error.errno == errno.EACCES and port < 1024:
        return _unusable(host, port, error)
    holder = await asyncio.to_thread(processes.holder_of_port, host, port)
    if holder is None:
        return Conflict(
            N_("Port {port} is taken by another program."),
            remedy=N_("Give another one with --port, or 0 for a free one."),
            code="port_taken",
            port=port,
        )
    pid, name = holder
    return Conflict(
        N_("Port {port} is taken by {name} (process {pid})."),
        remedy=N_("Give another one with --port, or 0 for a free one."),
        code="port_taken",
        port=port,
        name=name,
        pid=pid,
    )


def _unusable(host: str, port: int, error: OSError) -> InvalidValue:
    return InvalidValue(
        N_("{host} port {port} cannot be used: {why}."),
        remedy=N_("Give another address with --bind, or another port with --port."),
        host=host,
        port=port,
        why=error.strerror or str(error),
    )
