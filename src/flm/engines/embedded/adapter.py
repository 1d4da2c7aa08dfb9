"""The embedded engine behind `flm.ports.engines.EngineAdapter`."""

from __future__ import annotations

import msgspec

from flm.domain.engines import Address, EngineId, EngineKind, EngineLoad
from flm.domain.traits import EngineTraits
from flm.engines.embedded import detect
from flm.engines.embedded.traits import TRAITS
from flm.engines.llamacpp.adapter import LlamaCppAdapter
from flm.ports.engines import Installation, ModelKeeper, Prober, Sighting, Starter, Wishes
from flm.ports.machine import Machine
from flm.wire.snapshot import EngineDialect


class EmbeddedAdapter:
    """llama.cpp in children of FLM's; `EmbeddedLauncher` starts them."""

    kind: EngineKind = "embedded"
    dialect: EngineDialect = "openai"
    traits: EngineTraits = TRAITS

    @property
    def starter(self) -> Starter | None:
        """None: its children are started model by model, by `EmbeddedLauncher`."""
        return None

    @property
    def keeper(self) -> ModelKeeper | None:
        """None: its models are files, which FLM keeps itself."""
        return None

    def places(self, machine: Machine) -> tuple[Address, ...]:
        """None: FLM knows the addresses of its own children."""
        return detect.places(machine)

    def installed(self, machine: Machine) -> Installation | None:
        """The wheel's module, else None."""
        return detect.installed()

    async def describe(
        self,
        prober: Prober,
        engine: EngineId,
        address: Address,
        key: str | None,
        wishes: Wishes,
    ) -> Sighting:
        """A running child's state and its one model, as llama.cpp tells them."""
        child = await LlamaCppAdapter().describe(prober, engine, address, key, wishes)
        return msgspec.structs.replace(
            child, engine=msgspec.structs.replace(child.engine, kind=self.kind)
        )

    async def load(self, prober: Prober, address: Address, key: str | None) -> EngineLoad | None:
        """How busy a child is, as llama.cpp tells it."""
        return await LlamaCppAdapter().load(prober, address, key)
