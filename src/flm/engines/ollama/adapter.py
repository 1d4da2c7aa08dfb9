"""Ollama behind `flm.ports.engines.EngineAdapter`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from flm.domain.engines import (
    Address,
    ApiError,
    Engine,
    EngineId,
    EngineKind,
    EngineLoad,
    EngineState,
    Finding,
)
from flm.domain.reasons import NO_LIST
from flm.domain.traits import EngineTraits
from flm.engines.answers import LISTING, answered, state_of
from flm.engines.ollama import detect, models
from flm.engines.ollama.keeper import OllamaKeeper
from flm.engines.ollama.launch import OllamaStarter
from flm.engines.ollama.shows import Shows
from flm.engines.ollama.traits import TRAITS
from flm.engines.wishes import capable
from flm.errors import N_
from flm.ports.engines import Installation, ModelKeeper, Probe, Prober, Sighting, Starter, Wishes
from flm.ports.machine import Machine
from flm.wire.snapshot import EngineDialect

NO_OLLAMA = N_("no Ollama answers there")


class OllamaAdapter:
    """Ollama, spoken to in its own API. Keeps nothing but what `/api/show` said of a digest."""

    kind: EngineKind = "ollama"
    dialect: EngineDialect = "ollama"
    traits: EngineTraits = TRAITS

    def __init__(self) -> None:
        self._shows = Shows()
        self._keeper = OllamaKeeper()

    @property
    def starter(self) -> Starter | None:
        """`ollama serve`."""
        return OllamaStarter()

    @property
    def keeper(self) -> ModelKeeper | None:
        """What pulls, removes, loads and unloads its models."""
        return self._keeper

    def places(self, machine: Machine) -> tuple[Address, ...]:
        """`OLLAMA_HOST`, then port 11434 on both loopback addresses."""
        return detect.places(machine)

    def installed(self, machine: Machine) -> Installation | None:
        """The `ollama` program, with the service or the app that keeps it running."""
        return detect.installed(machine)

    async def describe(
        self,
        prober: Prober,
        engine: EngineId,
        address: Address,
        key: str | None,
        wishes: Wishes,
    ) -> Sighting:
        """State, version and models; those in the cloud only where the user wants them."""
        version, listed, running = await asyncio.gather(
            prober.get(address, "/api/version", key=key),
            prober.get(address, "/api/tags", key=key, limit=LISTING),
            prober.get(address, "/api/ps", key=key, limit=LISTING),
        )
        told = answered(version, detect.Version)
        tags = models.tags(listed.body) if listed.status == 200 else None
        offered = [tag for tag in tags or () if wishes.cloud or not tag.is_cloud]
        number = told.version if told is not None else None
        shown = await self._shows.of(prober, address, key, number or "", offered)
        loaded = models.loaded_contexts(running.body) if running.status == 200 else {}
        found = (
            models.model(engine, tag, shown.get(tag.name), loaded, wishes.contexts)
            for tag in offered
        )
        return Sighting(
            Engine(
                id=engine,
                kind=self.kind,
                state=_state(version, told, listed, tags),
                address=address,
                version=number,
                findings=_findings(len(tags or ()) - len(offered)),
            ),
            capable(found, wishes),
        )

    async def load(self, prober: Prober, address: Address, key: str | None) -> EngineLoad | None:
        """None: it tells nobody how busy it is."""
        return None


def _state(
    version: Probe, told: detect.Version | None, listed: Probe, tags: Sequence[models.Tag] | None
) -> EngineState:
    if version.status == 200 and told is None:
        return ApiError(NO_OLLAMA)
    if version.status == 200 and tags is None:
        listing = state_of(listed)
        return ApiError(NO_LIST) if listed.status == 200 else listing
    return state_of(version)


def _findings(cloud: int) -> tuple[Finding, ...]:
    if not cloud:
        return ()
    return (
        Finding(
            code="cloud_models_left_out",
            message=N_("Cloud models left out, because prompts would leave this machine: {count}."),
            remedy=N_("`flm config set engines.ollama.cloud true` offers them, marked as remote."),
            values={"count": str(cloud)},
            level="note",
        ),
    )
