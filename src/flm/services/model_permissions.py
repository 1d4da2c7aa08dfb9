"""What engines let others do to their models, and what is said where they do not."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import assert_never

from flm.domain.engines import Address, Engine, EngineKind
from flm.domain.traits import Keeping
from flm.errors import N_, NotPermitted
from flm.ports.engines import EngineAdapter, ModelKeeper, Step


class Permissions:
    """By the kinds of engines, and by what single ones say of themselves."""

    def __init__(self, adapters: Sequence[EngineAdapter]) -> None:
        self._adapters: Mapping[EngineKind, EngineAdapter] = {each.kind: each for each in adapters}

    def lets(self, engine: Engine, wanted: Keeping) -> bool:
        """Whether `wanted` can be done to its models."""
        adapter = self._adapters.get(engine.kind)
        if adapter is None:
            return False
        return wanted in (adapter.traits.keeping if engine.keeping is None else engine.keeping)

    def keeper(self, engine: Engine) -> ModelKeeper:
        """Who does it. Raises `NotPermitted`."""
        adapter = self._adapters[engine.kind]
        if adapter.keeper is None:
            raise _lets_nobody(engine, adapter)
        return adapter.keeper

    def check(self, engine: Engine, wanted: Keeping, name: str) -> None:
        """Raise `NotPermitted`, with what to do instead, where it cannot be done."""
        if self.lets(engine, wanted):
            return
        adapter = self._adapters.get(engine.kind)
        if adapter is not None and adapter.keeper is not None and engine.address is not None:
            _refuse(adapter, adapter.keeper, engine.address, wanted, name)
        raise _lets_nobody(engine, adapter)


def _refuse(
    adapter: EngineAdapter, keeper: ModelKeeper, address: Address, wanted: Keeping, name: str
) -> None:
    """Have the keeper say why not, in its own words: it raises `NotPermitted` for what its traits
    do not name, whatever the engine. Of others nothing is asked here: it might be done.
    """
    if wanted in adapter.traits.keeping:
        return
    match wanted:
        case "pull":
            asyncio.run(keeper.pull(address, None, name, _quietly))
        case "remove":
            asyncio.run(keeper.remove(address, None, name))
        case "load":
            asyncio.run(keeper.load(address, None, name, None, _quietly))
        case "unload":
            asyncio.run(keeper.unload(address, None, name))
        case _:
            assert_never(wanted)


def _quietly(step: Step) -> None:
    """Nobody is told how far it is."""


def _lets_nobody(engine: Engine, adapter: EngineAdapter | None) -> NotPermitted:
    startable = adapter is not None and adapter.starter is not None
    return NotPermitted(
        N_("{engine} ({product}) serves the models it was started with, and lets nobody change "
           "that meanwhile."),
        remedy=(
            N_("Start it with another model: `flm engines start {engine} -- MODEL`.")
            if startable
            else N_("Change them where {engine} was set up, and start it again.")
        ),
        engine=engine.id,
        product=engine.product or engine.kind,
    )  # fmt: skip
