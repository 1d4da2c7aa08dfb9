"""Nothing is searched for: an OpenAI-compatible address is one the user adds."""

from __future__ import annotations

from collections.abc import Mapping

from flm.domain.engines import NEEDS_KEY, Address
from flm.engines.answers import LISTING, state_of
from flm.engines.custom import models
from flm.ports.engines import Prober


def candidates(environment: Mapping[str, str]) -> tuple[Address, ...]:
    """None: many things speak OpenAI's API, and not all of them are engines (FLM itself does)."""
    return ()


async def recognise(prober: Prober, address: Address) -> bool:
    """Whether a list of models is served there, or is locked."""
    probe = await prober.get(address, "/v1/models", limit=LISTING)
    if probe.status == 200:
        return models.listed(probe.body) is not None
    return getattr(state_of(probe), "reason", "") == NEEDS_KEY
