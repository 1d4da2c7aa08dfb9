"""Who listens on this machine. Linux tells by its tables, the others through psutil."""

from __future__ import annotations

import ipaddress
import struct
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from flm.ports.machine import Listener

if TYPE_CHECKING:
    import psutil

Chain = tuple[tuple[int, str], ...]

_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
_LISTEN = "0A"


class Socket(NamedTuple):
    """A listening socket in Linux's table."""

    host: str
    port: int
    inode: str


class Listening:
    """Looks who listens. A socket's owner is looked up once: it stays the same for its life."""

    def __init__(
        self, tables: Iterable[str] = _TABLES, *, linux: bool = sys.platform == "linux"
    ) -> None:
        self._tables = tuple(tables)
        self._linux = linux
        self._chains: dict[str, Chain] = {}

    def now(self) -> tuple[Listener, ...]:
        """Everybody who listens for TCP connections now."""
        if not self._linux:
            return tuple(_elsewhere())
        sockets = [found for table in self._tables for found in listening_in(_text(table))]
        if any(each.inode not in self._chains for each in sockets):
            owners = _owners()
            self._chains = {
                each.inode: self._chains.get(each.inode) or chain_of(owners.get(each.inode))
                for each in sockets
            }
        return tuple(
            Listener(
                host=each.host,
                port=each.port,
                chain=self._chains.get(each.inode, ()),
                mark=each.inode,
            )
            for each in sockets
        )


def listening_in(table: str) -> list[Socket]:
    """The listening sockets in the text of `/proc/net/tcp` or `tcp6` (proc(5))."""
    found: list[Socket] = []
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) < 10 or fields[3] != _LISTEN:
            continue
        host, _, port = fields[1].partition(":")
        with suppress(ValueError, struct.error):
            found.append(Socket(_address(host), int(port, 16), fields[9]))
    return found


def _address(text: str) -> str:
    """The table writes addresses as 32-bit words in this machine's own byte order."""
    data = bytes.fromhex(text)
    words = struct.unpack(f"={len(data) // 4}I", data)
    big = struct.pack(f">{len(words)}I", *words) if sys.byteorder == "little" else data
    address = ipaddress.ip_address(big)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _text(path: str) -> str:
    try:
        return Path(path).read_text("ascii", "replace")
    except OSError:
        return ""


def _owners() -> Mapping[str, int]:
    """Sockets' inodes and the pids that hold them, of the processes this user may look into."""
    found: dict[str, int] = {}
    for process in Path("/proc").iterdir():
        if not process.name.isdecimal():
            continue
        with suppress(OSError):
            for descriptor in (process / "fd").iterdir():
                with suppress(OSError):
                    target = str(descriptor.readlink())
                    if target.startswith("socket:["):
                        found.setdefault(target[8:-1], int(process.name))
    return found


def chain_of(pid: int | None) -> Chain:
    """The process and those above it, nearest first; () when it cannot be known."""
    if pid is None:
        return ()
    import psutil

    try:
        process = psutil.Process(pid)
        return tuple((each.pid, program_of(each)) for each in (process, *process.parents()))
    except (psutil.Error, OSError):
        return ()


def program_of(process: psutil.Process) -> str:
    """What a process is called; a Python program by its module or its script."""
    import psutil

    name = str(process.name())
    if not name.lower().startswith("python"):
        return name
    try:
        words = process.cmdline()[1:]
    except (psutil.Error, OSError):
        return name
    return _python_program(words) or name


def _python_program(words: list[str]) -> str | None:
    """`vllm` for `-m vllm.entrypoints.openai.api_server` and for `/venv/bin/vllm serve`."""
    for position, word in enumerate(words):
        if word == "-m" and position + 1 < len(words):
            return words[position + 1].partition(".")[0]
        if word in ("-c", "-"):
            return None
        if not word.startswith("-"):
            return Path(word).name
    return None


def _elsewhere() -> list[Listener]:
    """macOS tells only this user's own processes; Windows tells all."""
    import psutil

    try:
        seen = [(each.pid, each) for each in psutil.net_connections("tcp")]
    except (psutil.Error, OSError):
        seen = [(process.pid, each) for process in psutil.process_iter() for each in _of(process)]
    listening = [(pid, each) for pid, each in seen if each.status == psutil.CONN_LISTEN]
    return [
        Listener(host=each.laddr.ip, port=each.laddr.port, chain=chain, mark=_mark(chain))
        for pid, each in listening
        for chain in (chain_of(pid or None),)
    ]


def _of(process: psutil.Process) -> list[psutil._common.pconn]:
    import psutil

    try:
        return list(process.net_connections("tcp"))
    except (psutil.Error, OSError):
        return []


def _mark(chain: Chain) -> str:
    """The process and when it began: pids come again."""
    if not chain:
        return ""
    import psutil

    try:
        return f"{chain[0][0]}@{psutil.Process(chain[0][0]).create_time()}"
    except (psutil.Error, OSError):
        return ""
