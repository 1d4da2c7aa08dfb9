"""Any OpenAI-compatible address behind `flm.ports.engines.EngineAdapter`."""

from __future__ import annotations

import msgspec

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
from flm.engines.answers import LISTING, Whole, answered, state_of
from flm.engines.custom import detect, models, products
from flm.engines.custom.traits import TRAITS
from flm.engines.wishes import capable
from flm.errors import N_
from flm.ports.engines import Installation, ModelKeeper, Probe, Prober, Sighting, Starter, Wishes
from flm.ports.machine import Machine
from flm.wire.snapshot import EngineDialect

NOTHING_LISTED = N_("no list of models at /v1/models")


class CustomAdapter:
    """An engine known by its address only: SGLang, KoboldCpp, LocalAI and many others."""

    kind: EngineKind = "custom"
    dialect: EngineDialect = "openai"
    traits: EngineTraits = TRAITS

    @property
    def starter(self) -> Starter | None:
        """None: nobody knows its program."""
        return None

    @property
    def keeper(self) -> ModelKeeper | None:
        """None: each product has its own way."""
        return None

    def places(self, machine: Machine) -> tuple[Address, ...]:
        """None: such an engine is added, or known by its fingerprint."""
        return detect.places(machine)

    def installed(self, machine: Machine) -> Installation | None:
        """None: there is no one program."""
        return detect.installed(machine)

    async def describe(
        self,
        prober: Prober,
        engine: EngineId,
        address: Address,
        key: str | None,
        wishes: Wishes,
    ) -> Sighting:
        """State and models from `/v1/models`, and what the product tells besides. A context that
        is set does not count: nobody could make the engine follow it.
        """
        listing = await prober.get(address, "/v1/models", key=key, limit=LISTING)
        found = models.listed(listing.body) if listing.status == 200 else None
        told = await products.ask(prober, address, key, found or [])
        return Sighting(
            Engine(
                id=engine,
                kind=self.kind,
                state=_state(listing, found),
                address=address,
                version=told.version,
                product=told.product,
            ),
            capable(models.models(engine, found or [], told.of, cloud=wishes.cloud), wishes),
        )

    async def load(self, prober: Prober, address: Address, key: str | None) -> EngineLoad | None:
        """What KoboldCpp tells, which answers one request at a time; None for all others.

        Another machine is not asked for what only a few products have.
        """
        if not address.is_loopback:
            return None
        told = answered(await prober.get(address, "/api/extra/perf", key=key), _Perf)
        if told is None:
            return None
        return EngineLoad(running=0 if told.idle else 1, waiting=told.queue, slots=1)


class _Perf(msgspec.Struct):
    """KoboldCpp's `/api/extra/perf`. ``idle`` is 0 or 1."""

    queue: Whole
    idle: Whole


def _state(listing: Probe, found: list[models.Entry] | None) -> EngineState:
    if listing.status == 404:
        return ApiError(NOTHING_LISTED)
    if listing.status == 200 and found is None:
        return ApiError(NO_LIST)
    state = state_of(listing)
    if isinstance(state, Degraded) and any(
        word in listing.body.lower() for word in (b"loading", b"starting", b"not ready")
    ):
        return Degraded(state.latency_ms, STARTING)
    return state
