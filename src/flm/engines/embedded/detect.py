"""The embedded engine is not searched for: it is there when its wheel is."""

from __future__ import annotations

import importlib.util

from flm.domain.engines import Address
from flm.ports.engines import Installation
from flm.ports.machine import Machine


def places(machine: Machine) -> tuple[Address, ...]:
    """None: its children listen on ports of their own, each with a key only FLM knows."""
    return ()


def installed() -> Installation | None:
    """The wheel's module when the extra is installed, without loading it."""
    found = importlib.util.find_spec("xllamacpp")
    return None if found is None or found.origin is None else Installation(program=found.origin)
