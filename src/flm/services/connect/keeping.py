"""What FLM wrote into clients' files, remembered in the data directory so that it can be undone.

The files' own text lies in it sealed: it may hold other keys.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from flm.errors import N_, StoreError
from flm.paths import make_private
from flm.ports.repositories import Secrets
from flm.services.connect.situation import ClientName, Element, Entry, FormatName

_PURPOSE = "connect"


class Before(msgspec.Struct, frozen=True, kw_only=True):
    """A file as it was (``data`` None: it was not there), and what FLM put into it."""

    data: bytes | None
    entries: tuple[tuple[list[str | list[str]], Any, bool], ...]

    def put(self) -> tuple[Entry, ...]:
        """What FLM put into it."""
        return tuple(
            Entry(
                tuple(step if isinstance(step, str) else Element(*step) for step in path),
                value,
                only_new,
            )
            for path, value, only_new in self.entries
        )


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """One file FLM wrote. ``digest``: SHA-256 of what it wrote; ``mode``: the file's before;
    ``folders``: made for it; ``sealed``: a `Before`."""

    path: str
    format: FormatName
    digest: str
    mode: int | None
    folders: tuple[str, ...]
    backup: str | None
    sealed: bytes


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """A client that was connected. ``key``: the id of the key made for it, None: a given one."""

    model: str
    at: float
    key: str | None = None
    files: tuple[Kept, ...] = ()


class _State(msgspec.Struct, frozen=True):
    clients: dict[str, Connection] = {}


class Keeping:
    """The connections of one data directory, in `connect.json`."""

    def __init__(self, path: Path, secrets: Callable[[], Secrets]) -> None:
        self._path = path
        self._secrets = secrets

    def get(self, client: ClientName) -> Connection | None:
        """The connection of that client."""
        return self._read().clients.get(client)

    def set(self, client: ClientName, connection: Connection | None) -> None:
        """Remember it; None: there is none any more."""
        clients = dict(self._read().clients)
        clients.pop(client, None)
        if connection is not None:
            clients[client] = connection
        temporary = self._path.with_name(f".{self._path.name}.new")
        temporary.unlink(missing_ok=True)
        make_private(temporary)
        with temporary.open("wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(_State(clients))) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._path)

    def seal(self, data: bytes | None, entries: tuple[Entry, ...]) -> bytes:
        """A `Before`, unreadable without the data directory's master key."""
        plain = [
            ([step if isinstance(step, str) else list(step) for step in path], value, only_new)
            for path, value, only_new in entries
        ]
        before = Before(data=data, entries=tuple(plain))
        return self._secrets().seal(msgspec.json.encode(before), _PURPOSE)

    def open(self, kept: Kept) -> Before:
        """What was sealed. Raises `StoreError`, naming the backup."""
        try:
            clear = self._secrets().open(kept.sealed, _PURPOSE)
            return msgspec.json.decode(clear, type=Before)
        except (StoreError, msgspec.DecodeError) as error:
            raise StoreError(
                N_("What {path} was before cannot be read any more."),
                remedy=N_("The backup is {backup}; take FLM's entries out by hand."),
                path=kept.path,
                backup=kept.backup or "-",
            ) from error

    def _read(self) -> _State:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=_State)
        except FileNotFoundError:
            return _State()
        except msgspec.DecodeError as error:
            raise StoreError(
                N_("{path} is damaged."),
                remedy=N_("Move it away; what was written to clients stays as it is."),
                path=self._path,
            ) from error
