"""Nothing is searched for: an OpenAI-compatible address is one the user adds, or what the
fingerprint knows by another name than the engines FLM has adapters for.
"""

from __future__ import annotations

from flm.domain.engines import Address
from flm.ports.engines import Installation
from flm.ports.machine import Machine


def places(machine: Machine) -> tuple[Address, ...]:
    """None: many things speak OpenAI's API, and not all of them are engines (FLM itself does)."""
    return ()


def installed(machine: Machine) -> Installation | None:
    """None: there is no one program."""
    return None
