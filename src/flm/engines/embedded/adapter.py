"""The embedded engine behind `flm.ports.engines.EngineAdapter`."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from flm.domain.engines import Address, EngineId, EngineKind
from flm.engines.embedded import detect
from flm.engines.llamacpp.adapter import LlamaCppAdapter
from flm.ports.engines import Prober, Sighting
from flm.wire.snapshot import EngineDialect


class EmbeddedAdapter:
    """llama.cpp in children of FLM's; `EmbeddedLauncher` starts them."""

    kind: EngineKind = "embedded"
    dialect: EngineDialect = "openai"

    def candidates(self, environment: Mapping[str, str]) -> tuple[Address, ...]:
        """None: FLM knows the addresses of its own children."""
        return detect.candidates(environment)

    async def recognise(self, prober: Prober, address: Address) -> bool:
        """Never: it is not searched for."""
        return await detect.recognise(prober, address)

    def installed(self) -> str | None:
        """The path of the wheel's module, else None."""
        return detect.installed()

    async def describe(
        self,
        prober: Prober,
        engine: EngineId,
        address: Address,
        key: str | None,
        context: Mapping[str, int],
    ) -> Sighting:
        """A running child's state and its one model, as llama.cpp tells them."""
        child = await LlamaCppAdapter().describe(prober, engine, address, key, context)
        return msgspec.structs.replace(
            child, engine=msgspec.structs.replace(child.engine, kind=self.kind)
        )
