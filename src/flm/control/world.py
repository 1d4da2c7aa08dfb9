"""What the composition root hands to a controller."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from flm.control.engine_process import EngineMeans
from flm.control.publisher import Read, StoreReader
from flm.control.resolving import Resolving
from flm.domain.engines import Engine, EngineId, EngineKind
from flm.domain.models import Model
from flm.paths import DataPaths
from flm.ports.clock import Clock
from flm.ports.engines import ModelLauncher, Sighting
from flm.ports.processes import Processes
from flm.ports.repositories import Secrets, Store
from flm.services.detection_settling import Again
from flm.wire.snapshot import EngineDialect


class Detection(Protocol):
    """Looks at the engines of this machine; see `flm.services.detection`."""

    def remember(self, cached: Iterable[tuple[Engine, Sequence[Model]]]) -> None:
        """Take what was seen by an earlier process for what was seen before."""
        ...

    async def look(self, read: Read) -> Sequence[Sighting]:
        """Every engine that is here, or was added, as it is now. Ends within 5 s."""
        ...

    async def again(self, read: Read, engines: Collection[EngineId]) -> Again:
        """How these are now, of those the last look saw; it may run beside a look."""
        ...


@dataclass(frozen=True)
class Opened:
    """The store of a data directory, what reads it, and what watches the engines by it.

    ``pepper`` is what keys are hashed under; ``secrets`` seals what is kept for clients.
    """

    store: Store
    reader: StoreReader
    detection: Detection
    pepper: bytes
    secrets: Secrets


@dataclass(frozen=True, kw_only=True)
class World:
    """All that a controller needs of the world.

    ``open_store`` runs in the store thread and migrates; ``choice`` picks one character
    (`secrets.choice`); ``spread`` varies a period a little; ``gateway`` is the command that
    starts a gateway, without its own arguments; ``names``: where the names of engines lead, the
    same for those who ask them how they are.
    """

    paths: DataPaths
    processes: Processes
    clock: Clock
    open_store: Callable[[], Opened]
    launcher: ModelLauncher
    engines: EngineMeans
    names: Resolving
    dialects: Mapping[EngineKind, EngineDialect]
    choice: Callable[[str], str]
    spread: Callable[[float], float]
    gateway: tuple[str, ...]
    version: str
    foreground: bool
    demo: bool = False
