"""What listens at an address: one ladder for all kinds of engines.

By GET only, and by what bodies say: a status alone means nothing (LM Studio answers 200 to every
path), and somebody's API being spoken neither (half of the engines speak Ollama's). The rungs in
`fingerprint_rungs` are judged in order, emulators before what they emulate.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from flm.domain.engines import Address
from flm.domain.instance import WELL_KNOWN
from flm.engines import fingerprint_rungs as rungs
from flm.engines.answers import LISTING, answered
from flm.engines.fingerprint_shapes import Flm
from flm.ports.engines import Identity, Probe, Prober

SECONDS = 2.0
"""About how long it may take until it is told who is there."""

_LEAST = 0.5
_PATHS: Mapping[str, int] = {
    rungs.GREETING: 64 << 10,
    "/.well-known/serviceinfo": 64 << 10,
    "/api/extra/version": 64 << 10,
    "/.well-known/localai.json": 256 << 10,
    "/": 8 << 10,
    "/v1/health": 256 << 10,
    "/api/v1/health": 256 << 10,
    "/get_model_info": 64 << 10,
    "/api/npu/status": 8 << 10,
    "/props": 1 << 20,
    "/api/version": 8 << 10,
    "/api/ps": LISTING,
    "/version": 8 << 10,
    rungs.MODELS: LISTING,
    "/v1/internal/model/info": 64 << 10,
    "/api/config": 256 << 10,
}
"""What is asked at once, and how many bytes of each answer are read."""

_OF_FLM = 4 << 10

Ask = Callable[[str, int], Awaitable[Probe]]


async def identify(prober: Prober, address: Address, key: str | None = None) -> Identity | None:
    """Who listens at `address`; None: nobody, or nobody who is an engine.

    ``key`` is sent where it is known: some engines tell their name only then. FLM is told by its
    `Identity.instance`, for the caller to judge; Open WebUI is none. Takes about `SECONDS`.
    """
    first = await prober.get(address, WELL_KNOWN, key=key, seconds=SECONDS, limit=_OF_FLM)
    if first.status == 0:
        return None
    seconds = max(_LEAST, SECONDS - first.latency_ms / 1000)

    async def ask(path: str, limit: int) -> Probe:
        return await prober.get(address, path, key=key, seconds=seconds, limit=limit)

    told = answered(first, Flm)
    if told is not None and told.instance:
        # FLM records what it is asked: it need not refuse all the other questions.
        return rungs.flm(told, await ask(rungs.MODELS, LISTING))
    answers = await asyncio.gather(*(ask(path, limit) for path, limit in _PATHS.items()))
    asked = dict(zip(_PATHS, answers, strict=True))
    for rung in rungs.LADDER:
        found = rung(asked)
        if found is not None:
            return found
    return await _on_a_second_look(asked, ask)


async def instance_at(prober: Prober, address: Address) -> str | None:
    """The instance (`flm.domain.instance`) of the FLM that serves there, None for others."""
    told = answered(await prober.get(address, WELL_KNOWN, limit=_OF_FLM), Flm)
    return told.instance if told is not None else None


async def _on_a_second_look(asked: rungs.Asked, ask: Ask) -> Identity | None:
    """The rungs that need one more question, then the one that many may stand on.

    SGLang may generate a token when its health is asked, so `/health` is asked of nobody else.
    """
    if rungs.may_be_vllm(asked):
        found = rungs.locked_vllm(asked, await ask("/metrics", 1 << 20))
        if found is not None:
            return found
    if rungs.is_open_webui(asked):
        return None
    found = rungs.jan(asked, await ask("/openapi.json", 1 << 20))
    if found is None and rungs.may_be_mlx(asked):
        found = rungs.mlx(await ask("/health", 8 << 10))
    return found or rungs.openai_compatible(asked)
