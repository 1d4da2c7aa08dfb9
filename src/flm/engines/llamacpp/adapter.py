"""llama.cpp's server behind `flm.ports.engines.EngineAdapter`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from urllib.parse import quote

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
from flm.domain.reasons import NO_LIST
from flm.domain.traits import EngineTraits
from flm.engines import metrics
from flm.engines.answers import LISTING, answered, decoded, state_of
from flm.engines.llamacpp import detect, models
from flm.engines.llamacpp.keeper import LlamaCppKeeper
from flm.engines.llamacpp.launch import LlamaCppStarter
from flm.engines.llamacpp.traits import TRAITS
from flm.engines.wishes import capable
from flm.ports.engines import Installation, ModelKeeper, Probe, Prober, Sighting, Starter, Wishes
from flm.ports.machine import Machine
from flm.wire.snapshot import EngineDialect

PROPS_LIMIT = 1 << 20
ASKED_AT_MOST = 8
"""Of a router's loaded models so many are asked one by one; it holds 4 unless told otherwise."""


class LlamaCppAdapter:
    """A llama-server the user (or FLM) runs, with one model or as a router of several."""

    kind: EngineKind = "llamacpp"
    dialect: EngineDialect = "openai"
    traits: EngineTraits = TRAITS

    @property
    def starter(self) -> Starter | None:
        """`llama-server`, with a model or as a router."""
        return LlamaCppStarter()

    @property
    def keeper(self) -> ModelKeeper | None:
        """A router's; with one model it refuses."""
        return LlamaCppKeeper()

    def places(self, machine: Machine) -> tuple[Address, ...]:
        """`LLAMA_CPP_PORT`, 8080 and 9931 on both loopback addresses."""
        return detect.places(machine)

    def installed(self, machine: Machine) -> Installation | None:
        """`llama-server`, or `llama` where its own installer puts it."""
        return detect.installed(machine)

    async def describe(
        self,
        prober: Prober,
        engine: EngineId,
        address: Address,
        key: str | None,
        wishes: Wishes,
    ) -> Sighting:
        """State, build and models. The context is the server's own, not the one in ``wishes``."""
        health, listed, told = await asyncio.gather(
            prober.get(address, "/health", key=key),
            prober.get(address, "/v1/models", key=key, limit=LISTING),
            prober.get(address, "/props", key=key, limit=PROPS_LIMIT),
        )
        props = answered(told, models.Props)
        found = models.listed(listed.body) if listed.status == 200 else None
        each = await _each(prober, address, key, found or [])
        return Sighting(
            Engine(
                id=engine,
                kind=self.kind,
                state=_state(health, listed, told, found),
                address=address,
                version=(props.build_info or None) if props is not None else None,
                detail=_detail(props),
                keeping=None if props is None or props.is_router else (),
            ),
            capable(models.models(engine, found or [], props, each), wishes),
        )

    async def load(self, prober: Prober, address: Address, key: str | None) -> EngineLoad | None:
        """Its slots, from `/slots`; what waits from `/metrics`, if that is on.

        What sleeps is not asked: `/slots` would wake it. `/metrics` is asked only when every slot
        is busy, because its averages are those since it was last asked, by whomever.
        """
        told = await prober.get(address, "/props", key=key, limit=PROPS_LIMIT)
        props = answered(told, models.Props)
        if props is None:
            return None
        if props.is_router:
            return await _router_load(prober, address, key)
        if props.is_sleeping:
            return EngineLoad(running=0, waiting=0, slots=props.total_slots)
        return await _slots(prober, address, key, "")


async def _each(
    prober: Prober, address: Address, key: str | None, found: Sequence[models.Entry]
) -> dict[str, models.Props]:
    """The properties of a router's loaded models by id; asking for them wakes and loads nothing."""
    loaded = [entry.id for entry in found if entry.is_loaded][:ASKED_AT_MOST]
    asked = (
        prober.get(address, f"/props{_of(name)}", key=key, limit=PROPS_LIMIT) for name in loaded
    )
    answers = (answered(probe, models.Props) for probe in await asyncio.gather(*asked))
    return {name: props for name, props in zip(loaded, answers, strict=True) if props is not None}


async def _router_load(prober: Prober, address: Address, key: str | None) -> EngineLoad | None:
    listed = await prober.get(address, "/v1/models", key=key, limit=LISTING)
    found = models.listed(listed.body) if listed.status == 200 else None
    if found is None:
        return None
    loaded = [entry.id for entry in found if entry.is_loaded][:ASKED_AT_MOST]
    asked = (_slots(prober, address, key, _of(name)) for name in loaded)
    loads = [load for load in await asyncio.gather(*asked) if load is not None]
    return EngineLoad(
        running=sum(load.running or 0 for load in loads),
        waiting=sum(load.waiting or 0 for load in loads),
        slots=sum(load.slots or 0 for load in loads) or None,
    )


async def _slots(prober: Prober, address: Address, key: str | None, of: str) -> EngineLoad | None:
    """The load of one server, or of one model of a router (``of``: the question's query)."""
    told = await prober.get(address, f"/slots{of}", key=key, limit=PROPS_LIMIT)
    slots = answered(told, list[models.Slot])
    if slots and not all(slot.is_processing for slot in slots):
        return EngineLoad(
            running=sum(slot.is_processing for slot in slots), waiting=0, slots=len(slots)
        )
    counted = await prober.get(address, f"/metrics{of}", key=key, limit=metrics.LIMIT)
    body = counted.body if counted.status == 200 else b""
    running = metrics.count(body, "llamacpp:requests_processing")
    if slots is None and running is None:
        return None
    return EngineLoad(
        running=len(slots) if slots else running,
        waiting=metrics.count(body, "llamacpp:requests_deferred"),
        slots=len(slots) if slots else None,
    )


def _of(model: str) -> str:
    return f"?model={quote(model, safe='')}&autoload=0"


def _is_loading(probe: Probe) -> bool:
    """Whether a 503 says that the model is still being loaded."""
    refused = decoded(probe.body, models.Refused) if probe.status == 503 else None
    return refused is not None and refused.error.type == "unavailable_error"


def _state(
    health: Probe, listed: Probe, told: Probe, found: list[models.Entry] | None
) -> EngineState:
    if _is_loading(health):
        return Degraded(health.latency_ms, STARTING)
    if health.status != 200:
        return state_of(health)
    for locked in (listed, told):  # /health asks for no key; builds differ in what else is open
        if locked.status in (401, 403):
            return state_of(locked)
    if listed.status != 200:
        return state_of(listed)
    if found is None:
        return ApiError(NO_LIST)
    return state_of(health)


def _detail(props: models.Props | None) -> str:
    if props is None:
        return ""
    if props.is_router:
        return "router of several models"
    return f"{props.total_slots} requests at once" if props.total_slots else ""
