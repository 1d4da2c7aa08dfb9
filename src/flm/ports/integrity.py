"""What `flm check` needs to know of what is stored. Looking changes nothing and never raises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from flm.domain.engines import EngineDefinition, KnownEngine
from flm.domain.keys import ApiKey
from flm.ports.telemetry import Checkpoint


class DatabaseState(msgspec.Struct, frozen=True, kw_only=True):
    """How one database is. ``error``: why it cannot be read; ``damage``: what SQLite's own check
    found; ``schema``: its migration, ``expected``: that of this FLM, ``newer``: it is of a later
    one; ``revision_kept`` False: the row is missing that tells changes.
    """

    path: str
    there: bool = True
    error: str = ""
    damage: tuple[str, ...] = ()
    schema: str = ""
    expected: str = ""
    newer: bool = False
    revision_kept: bool = True


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """What could be read of what is stored; nothing where its database cannot be read."""

    keys: Sequence[ApiKey] = ()
    added: Sequence[EngineDefinition] = ()
    known: Sequence[KnownEngine] = ()
    checkpoints: Mapping[str, Checkpoint] = {}


class Inspection(Protocol):
    """Looks at the databases as they lie there, whoever writes them meanwhile."""

    def databases(self) -> list[DatabaseState]: ...
    def stored(self) -> Stored: ...
