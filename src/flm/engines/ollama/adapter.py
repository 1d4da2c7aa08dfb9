"""Ollama behind `flm.ports.engines.EngineAdapter`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence

import msgspec

from flm.domain.engines import Address, ApiError, Engine, EngineId, EngineKind, EngineState
from flm.engines.answers import LISTING, answered, state_of
from flm.engines.ollama import detect, models
from flm.ports.engines import Probe, Prober, Sighting
from flm.wire.snapshot import EngineDialect

ASKED_AT_MOST = 64
"""Old Ollamas tell capabilities only model by model; beyond so many they are guessed."""

_AT_ONCE = 8
_SECONDS = 2.0


class OllamaAdapter:
    """Ollama, spoken to in its own API."""

    kind: EngineKind = "ollama"
    dialect: EngineDialect = "ollama"

    def candidates(self, environment: Mapping[str, str]) -> tuple[Address, ...]:
        """`OLLAMA_HOST`, then port 11434 on both loopback addresses."""
        return detect.candidates(environment)

    async def recognise(self, prober: Prober, address: Address) -> bool:
        """Whether a real Ollama listens there, and none of its emulators."""
        return await detect.recognise(prober, address)

    def installed(self) -> str | None:
        """The path of the `ollama` program, else None."""
        return detect.installed()

    async def describe(
        self,
        prober: Prober,
        engine: EngineId,
        address: Address,
        key: str | None,
        context: Mapping[str, int],
    ) -> Sighting:
        """State, version and local models; cloud models are counted and left out."""
        version, listed, running = await asyncio.gather(
            prober.get(address, "/api/version", key=key),
            prober.get(address, "/api/tags", key=key, limit=LISTING),
            prober.get(address, "/api/ps", key=key, limit=LISTING),
        )
        told = answered(version, detect.Version)
        tags = models.tags(listed.body) if listed.status == 200 else None
        local = [tag for tag in tags or () if not tag.is_cloud]
        shown = await _shown(prober, address, key, local)
        loaded = models.loaded_contexts(running.body) if running.status == 200 else {}
        return Sighting(
            Engine(
                id=engine,
                kind=self.kind,
                state=_state(version, told, listed, tags),
                address=address,
                version=told.version if told is not None else None,
                detail=_detail(len(tags or ()) - len(local)),
            ),
            tuple(models.model(engine, tag, shown.get(tag.name), loaded, context) for tag in local),
        )


def _state(
    version: Probe, told: detect.Version | None, listed: Probe, tags: Sequence[models.Tag] | None
) -> EngineState:
    if version.status == 200 and told is None:
        return ApiError("no Ollama answers there")
    if version.status == 200 and tags is None:
        listing = state_of(listed)
        return ApiError("its list of models cannot be read") if listed.status == 200 else listing
    return state_of(version)


def _detail(cloud: int) -> str:
    if not cloud:
        return ""
    return (
        f"{cloud} cloud model{'s' if cloud > 1 else ''} left out: prompts would leave this machine"
    )


async def _shown(
    prober: Prober, address: Address, key: str | None, tags: Sequence[models.Tag]
) -> dict[str, models.Shown]:
    """`/api/show` of the models whose capabilities are not in the list, a few at once; what is
    not answered within two seconds is left to guessing."""
    silent = [tag.name for tag in tags if tag.capabilities is None][:ASKED_AT_MOST]
    gate = asyncio.Semaphore(_AT_ONCE)
    found: dict[str, models.Shown] = {}

    async def ask(name: str) -> None:
        async with gate:
            question = msgspec.json.encode({"model": name})
            probe = await prober.post(address, "/api/show", question, key=key)
        shown = answered(probe, models.Shown)
        if shown is not None:
            found[name] = shown

    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_SECONDS):
            await asyncio.gather(*(ask(name) for name in silent))
    return found
