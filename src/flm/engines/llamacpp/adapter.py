"""llama.cpp's server behind `flm.ports.engines.EngineAdapter`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from flm.domain.engines import (
    Address,
    ApiError,
    Degraded,
    Engine,
    EngineId,
    EngineKind,
    EngineState,
)
from flm.engines.answers import LISTING, answered, state_of
from flm.engines.llamacpp import detect, models
from flm.ports.engines import Probe, Prober, Sighting
from flm.wire.snapshot import EngineDialect

LOADING = "loading a model"


class LlamaCppAdapter:
    """A llama-server the user runs, with one model or as a router of several."""

    kind: EngineKind = "llamacpp"
    dialect: EngineDialect = "openai"

    def __init__(self, ancestors: detect.Ancestors = detect.ancestors) -> None:
        self._ancestors = ancestors

    def candidates(self, environment: Mapping[str, str]) -> tuple[Address, ...]:
        """`LLAMA_CPP_PORT`, 8080 and 9931 on both loopback addresses."""
        return detect.candidates(environment)

    async def recognise(self, prober: Prober, address: Address) -> bool:
        """Whether a llama-server listens there that neither another engine nor FLM started."""
        return await detect.recognise(prober, address, self._ancestors)

    def installed(self) -> str | None:
        """The path of `llama-server`, else None."""
        return detect.installed()

    async def describe(
        self,
        prober: Prober,
        engine: EngineId,
        address: Address,
        key: str | None,
        context: Mapping[str, int],
    ) -> Sighting:
        """State, build and models. ``context`` does not count: the server has one of its own."""
        health, listed, told = await asyncio.gather(
            prober.get(address, "/health", key=key),
            prober.get(address, "/v1/models", key=key, limit=LISTING),
            prober.get(address, "/props", key=key, limit=detect.PROPS_LIMIT),
        )
        props = answered(told, models.Props)
        found = models.listed(listed.body) if listed.status == 200 else None
        return Sighting(
            Engine(
                id=engine,
                kind=self.kind,
                state=_state(health, listed, found),
                address=address,
                version=(props.build_info or None) if props is not None else None,
                detail=_detail(props),
            ),
            models.models(engine, found or [], props),
        )


def _state(health: Probe, listed: Probe, found: list[models.Entry] | None) -> EngineState:
    if detect.is_loading(health):
        return Degraded(health.latency_ms, LOADING)
    if health.status != 200:
        return state_of(health)
    if listed.status != 200:
        return state_of(listed)  # /health asks for no key, so only this tells a wrong one
    if found is None:
        return ApiError("its list of models cannot be read")
    return state_of(health)


def _detail(props: models.Props | None) -> str:
    if props is None:
        return ""
    if props.role == "router":
        return "router of several models"
    return f"{props.total_slots} requests at once" if props.total_slots else ""
