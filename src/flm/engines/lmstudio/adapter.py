"""LM Studio behind `flm.ports.engines.EngineAdapter`."""

from __future__ import annotations

from flm.domain.engines import (
    NEEDS_KEY,
    Address,
    ApiError,
    Engine,
    EngineId,
    EngineKind,
    EngineLoad,
    EngineState,
)
from flm.domain.models import Model
from flm.domain.reasons import NO_LIST
from flm.domain.traits import EngineTraits
from flm.engines.answers import LISTING, state_of
from flm.engines.commands import fault_in
from flm.engines.lmstudio import detect, models
from flm.engines.lmstudio.keeper import LmStudioKeeper
from flm.engines.lmstudio.launch import LmStudioStarter
from flm.engines.lmstudio.traits import TRAITS
from flm.engines.wishes import capable
from flm.ports.engines import Installation, ModelKeeper, Probe, Prober, Sighting, Starter, Wishes
from flm.ports.machine import Machine
from flm.wire.snapshot import EngineDialect


class LmStudioAdapter:
    """LM Studio's server, of the app or of the headless llmster."""

    kind: EngineKind = "lmstudio"
    dialect: EngineDialect = "openai"
    traits: EngineTraits = TRAITS

    def __init__(self) -> None:
        self._keeper = LmStudioKeeper()

    @property
    def starter(self) -> Starter | None:
        """`lms server start`."""
        return LmStudioStarter()

    @property
    def keeper(self) -> ModelKeeper | None:
        """What pulls, loads and unloads its models."""
        return self._keeper

    def places(self, machine: Machine) -> tuple[Address, ...]:
        """`LMSTUDIO_API_HOST`, the port in its settings, then 1234."""
        return detect.places(machine)

    def installed(self, machine: Machine) -> Installation | None:
        """Its program `lms`, else the app."""
        return detect.installed(machine)

    async def describe(
        self,
        prober: Prober,
        engine: EngineId,
        address: Address,
        key: str | None,
        wishes: Wishes,
    ) -> Sighting:
        """State and models. It tells its version to nobody; a context that is set counts when a
        model is loaded through FLM, and its own word on what is loaded is the truth.
        """
        probe, found = await _listed(prober, engine, address, key)
        return Sighting(
            Engine(id=engine, kind=self.kind, state=_state(probe, found), address=address),
            capable(found or (), wishes),
        )

    async def load(self, prober: Prober, address: Address, key: str | None) -> EngineLoad | None:
        """How many requests its loaded models answer at once; how many wait it does not tell."""
        probe = await prober.get(address, "/api/v1/models", key=key, limit=LISTING)
        found = models.listed(probe.body) if probe.status == 200 else None
        slots = sum(
            int(each.config.parallel or 0)
            for entry in found or ()
            for each in entry.loaded_instances
        )
        return EngineLoad(slots=slots) if slots else None


async def _listed(
    prober: Prober, engine: EngineId, address: Address, key: str | None
) -> tuple[Probe, tuple[Model, ...] | None]:
    """The first list that is one, and its probe; the last probe where there is none."""
    for path, read in models.LISTS:
        probe = await prober.get(address, path, key=key, limit=LISTING)
        found = read(engine, probe.body) if probe.status == 200 else None
        if found is not None or probe.status not in (200, 404) or _is_locked(probe):
            break
    if found is not None and path != models.PLAIN:
        plain = await prober.get(address, models.PLAIN, key=key, seconds=1.0, limit=LISTING)
        found = models.loaded_by_hand(found, plain.body if plain.status == 200 else b"")
    return probe, found


def _state(probe: Probe, found: tuple[Model, ...] | None) -> EngineState:
    if _is_locked(probe):
        return ApiError(NEEDS_KEY)
    if probe.status == 200 and found is None:
        return ApiError(NO_LIST)
    return state_of(probe)


def _is_locked(probe: Probe) -> bool:
    """Its 401; in a 200 too, because there it hides its other errors."""
    return probe.status in (401, 403) or "API token is required" in fault_in(probe.body)
