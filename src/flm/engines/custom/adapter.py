"""Any OpenAI-compatible address behind `flm.ports.engines.EngineAdapter`."""

from __future__ import annotations

from collections.abc import Mapping

from flm.domain.engines import Address, ApiError, Engine, EngineId, EngineKind
from flm.engines.answers import LISTING, state_of
from flm.engines.custom import detect, models
from flm.ports.engines import Prober, Sighting
from flm.wire.snapshot import EngineDialect


class CustomAdapter:
    """An engine known by its address only: vLLM, LM Studio, SGLang and many others."""

    kind: EngineKind = "custom"
    dialect: EngineDialect = "openai"

    def candidates(self, environment: Mapping[str, str]) -> tuple[Address, ...]:
        """None: such an engine is added, not found."""
        return detect.candidates(environment)

    async def recognise(self, prober: Prober, address: Address) -> bool:
        """Whether a list of models is served there, or is locked."""
        return await detect.recognise(prober, address)

    def installed(self) -> str | None:
        """None: there is no one program."""
        return None

    async def describe(
        self,
        prober: Prober,
        engine: EngineId,
        address: Address,
        key: str | None,
        context: Mapping[str, int],
    ) -> Sighting:
        """State and models, all from `/v1/models`. ``context`` does not count: there is none."""
        listed = await prober.get(address, "/v1/models", key=key, limit=LISTING)
        found = models.listed(listed.body) if listed.status == 200 else []
        state = state_of(listed)
        if listed.status == 404:
            state = ApiError("no list of models at /v1/models")
        if found is None:
            # LM Studio answers 200 with an error to whatever it does not know
            state = ApiError("its list of models cannot be read")
        return Sighting(
            Engine(id=engine, kind=self.kind, state=state, address=address),
            models.models(engine, found or []),
        )
