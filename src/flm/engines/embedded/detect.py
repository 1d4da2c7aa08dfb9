"""The embedded engine is not searched for: it is there when its wheel is."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping

from flm.domain.engines import Address
from flm.ports.engines import Prober


def candidates(environment: Mapping[str, str]) -> tuple[Address, ...]:
    """None: its children listen on ports of their own, each with a key only FLM knows."""
    return ()


async def recognise(prober: Prober, address: Address) -> bool:
    """Never: what listens somewhere is somebody else's engine."""
    return False


def installed() -> str | None:
    """The path of the wheel's module when the extra is installed, without loading it."""
    found = importlib.util.find_spec("xllamacpp")
    return found.origin if found is not None else None
