"""What a look at the engines is told beforehand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from flm.domain.engines import EngineDefinition, KnownEngine
from flm.domain.models import GgufFile
from flm.ports.engines import Wishes
from flm.services.engine_states import Thresholds


class Added(NamedTuple):
    """An engine the user added, with its own key opened."""

    definition: EngineDefinition
    key: str | None = None


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """All of it.

    ``known``: the engines that were ever found; ``keys``: the keys the user gave to those, by
    id; ``otherwise``: what is wished of engines that are not in ``wishes``; ``paths``: programs
    and folders the user named, by engine; ``instance``: our own (`flm.domain.instance`), which
    is no engine; ``thresholds`` None: those the detector was made with.
    """

    added: Sequence[Added] = ()
    known: Sequence[KnownEngine] = ()
    keys: Mapping[str, str] = {}
    files: Sequence[GgufFile] = ()
    wishes: Mapping[str, Wishes] = {}
    otherwise: Wishes = Wishes()
    paths: Mapping[str, str] = {}
    instance: str = ""
    thresholds: Thresholds | None = None

    def wish(self, engine: str) -> Wishes:
        """What the user set for that engine."""
        return self.wishes.get(engine, self.otherwise)
