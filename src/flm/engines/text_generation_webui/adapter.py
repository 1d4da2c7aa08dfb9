"""text-generation-webui behind `flm.ports.engines.EngineAdapter`."""

from __future__ import annotations

import asyncio

from flm.domain.engines import (
    Address,
    ApiError,
    Engine,
    EngineId,
    EngineKind,
    EngineLoad,
    EngineState,
)
from flm.domain.traits import EngineTraits
from flm.engines.answers import LISTING, answered, state_of
from flm.engines.text_generation_webui import detect, models
from flm.engines.text_generation_webui.keeper import TextGenerationWebuiKeeper
from flm.engines.text_generation_webui.launch import TextGenerationWebuiStarter
from flm.engines.text_generation_webui.traits import TRAITS
from flm.errors import N_
from flm.ports.engines import Installation, ModelKeeper, Probe, Prober, Sighting, Starter, Wishes
from flm.ports.machine import Machine
from flm.wire.snapshot import EngineDialect

NO_MODEL = N_("its model cannot be read")


class TextGenerationWebuiAdapter:
    """A text-generation-webui with its API on; it holds one model at a time."""

    kind: EngineKind = "text-generation-webui"
    dialect: EngineDialect = "openai"
    traits: EngineTraits = TRAITS

    @property
    def starter(self) -> Starter | None:
        """Its `server.py` or start script, from its folder."""
        return TextGenerationWebuiStarter()

    @property
    def keeper(self) -> ModelKeeper | None:
        """Loads and unloads."""
        return TextGenerationWebuiKeeper()

    def places(self, machine: Machine) -> tuple[Address, ...]:
        """`OPENEDAI_PORT` and 5000 on both loopback addresses."""
        return detect.places(machine)

    def installed(self, machine: Machine) -> Installation | None:
        """Its folder, in a usual place."""
        return detect.installed(machine)

    async def describe(
        self,
        prober: Prober,
        engine: EngineId,
        address: Address,
        key: str | None,
        wishes: Wishes,
    ) -> Sighting:
        """State and models. Its version is told nowhere; the list needs its admin key, and
        without it only the loaded model is known."""
        health, told, listed = await asyncio.gather(
            prober.get(address, "/v1/internal/health", key=key),
            prober.get(address, "/v1/internal/model/info", key=key),
            prober.get(address, "/v1/internal/model/list", key=key, limit=LISTING),
        )
        info = answered(told, models.Info)
        names = answered(listed, models.Names)
        loaded = info.loaded if info is not None else None
        return Sighting(
            Engine(
                id=engine,
                kind=self.kind,
                state=_state(health, told, info),
                address=address,
                detail="no model is loaded" if info is not None and loaded is None else "",
            ),
            models.models(engine, loaded, names.model_names if names is not None else [], wishes),
        )

    async def load(self, prober: Prober, address: Address, key: str | None) -> EngineLoad | None:
        """None: it tells nobody."""
        return None


def _state(health: Probe, told: Probe, info: models.Info | None) -> EngineState:
    if health.status == 200 and told.status == 200 and info is None:
        return ApiError(NO_MODEL)
    if health.status == 200 and told.status != 200:
        return state_of(told)
    return state_of(health)
