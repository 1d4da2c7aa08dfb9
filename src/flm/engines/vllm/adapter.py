"""vLLM behind `flm.ports.engines.EngineAdapter`."""

from __future__ import annotations

import asyncio

from flm.domain.engines import (
    STARTING,
    Address,
    ApiError,
    Degraded,
    Engine,
    EngineId,
    EngineKind,
    EngineLoad,
    EngineState,
)
from flm.domain.models import Capability
from flm.domain.reasons import NO_LIST
from flm.domain.traits import EngineTraits
from flm.engines import metrics
from flm.engines.answers import LISTING, answered, state_of
from flm.engines.vllm import detect, models
from flm.engines.vllm.launch import VllmStarter
from flm.engines.vllm.traits import TRAITS
from flm.engines.wishes import capable
from flm.errors import N_
from flm.ports.engines import Installation, ModelKeeper, Probe, Prober, Sighting, Starter, Wishes
from flm.ports.machine import Machine
from flm.wire.snapshot import EngineDialect

DEAD = N_("its engine process has died; it must be started again")


class VllmAdapter:
    """A vLLM server the user (or FLM) runs, with one model and its aliases and LoRA adapters."""

    kind: EngineKind = "vllm"
    dialect: EngineDialect = "openai"
    traits: EngineTraits = TRAITS

    @property
    def starter(self) -> Starter | None:
        """`vllm serve MODEL`."""
        return VllmStarter()

    @property
    def keeper(self) -> ModelKeeper | None:
        """None: it serves what it was started with."""
        return None

    def places(self, machine: Machine) -> tuple[Address, ...]:
        """`VLLM_HOST`, `VLLM_PORT` and 8000 on both loopback addresses."""
        return detect.places(machine)

    def installed(self, machine: Machine) -> Installation | None:
        """The `vllm` script: on PATH, or in a virtual environment in a usual place."""
        return detect.installed(machine)

    async def describe(
        self,
        prober: Prober,
        engine: EngineId,
        address: Address,
        key: str | None,
        wishes: Wishes,
    ) -> Sighting:
        """State, version and models."""
        health, version, listed = await asyncio.gather(
            prober.get(address, "/health", key=key),
            prober.get(address, "/version", key=key),
            prober.get(address, "/v1/models", key=key, limit=LISTING),
        )
        told = answered(version, models.Version)
        found = models.listed(listed.body) if listed.status == 200 else None
        can = await _capabilities(prober, address, key) if found else ()
        return Sighting(
            Engine(
                id=engine,
                kind=self.kind,
                state=_state(health, listed, found),
                address=address,
                version=told.version if told is not None else None,
            ),
            capable(models.models(engine, found or (), can), wishes),
        )

    async def load(self, prober: Prober, address: Address, key: str | None) -> EngineLoad | None:
        """Requests running and waiting and the fullest KV cache, from `/metrics`."""
        told = await prober.get(address, "/metrics", key=key, limit=metrics.LIMIT)
        running = metrics.count(told.body, "vllm:num_requests_running")
        if told.status != 200 or running is None:
            return None
        usage = metrics.samples(told.body, "vllm:kv_cache_usage_perc") or metrics.samples(
            told.body, "vllm:gpu_cache_usage_perc"
        )
        return EngineLoad(
            running=running,
            waiting=metrics.count(told.body, "vllm:num_requests_waiting"),
            cache_usage=max(usage, default=None),
        )


async def _capabilities(
    prober: Prober, address: Address, key: str | None
) -> tuple[Capability, ...]:
    """A GET of a route that wants POST is 405 where the route is, 404 where it is not."""
    *asked, told = await asyncio.gather(
        *(prober.get(address, route, key=key) for route, _ in models.ROUTES),
        prober.get(address, "/metrics", key=key, limit=metrics.LIMIT),
    )
    pairs = zip(models.ROUTES, asked, strict=True)
    known = {route: probe.status for (route, _), probe in pairs if probe.status in (404, 405)}
    if len(known) < len(models.ROUTES):
        return models.capabilities(None, b"")
    return models.capabilities([route for route in known if known[route] == 405], told.body)


def _state(health: Probe, listed: Probe, found: list[models.Entry] | None) -> EngineState:
    """`/health` is 503 when the engine's process has died, and the API serves on."""
    if health.status == 503:
        dead = listed.status == 200
        return ApiError(DEAD) if dead else Degraded(health.latency_ms, STARTING)
    if health.status != 200:
        return state_of(health)
    if listed.status != 200:
        return state_of(listed)  # /health asks for no key, so only this tells a wrong one
    if found is None:
        return ApiError(NO_LIST)
    return state_of(health)
