"""What `flm check` says of the engines. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from flm.domain.engines import (
    NEEDS_KEY,
    STARTING,
    ApiError,
    Degraded,
    Engine,
    Finding,
    NetworkError,
    serves,
)
from flm.errors import N_


def engine_findings(engines: Sequence[Engine]) -> tuple[Finding, ...]:
    """Their states, and what detection found of them (`flm.services.exposure` and others)."""
    found = [finding for engine in engines for finding in (*_state(engine), *engine.findings)]
    if not any(serves(engine.state) for engine in engines):
        found.append(
            Finding(
                code="no_engine",
                message=N_("No engine runs that could answer."),
                remedy=N_("Start one, or add one with `flm engines add`."),
                level="note",
            )
        )
    return tuple(found)


def _state(engine: Engine) -> Iterator[Finding]:
    state = engine.state
    values = {"engine": str(engine.id)}
    if isinstance(state, NetworkError):
        yield Finding(
            code="engine_unreachable",
            message=N_("{engine} does not answer: {reason}."),
            remedy=N_("Start it, or forget it with `flm engines remove {engine}`.")
            if engine.source == "added"
            else N_("Start it where it is started."),
            values={**values, "reason": state.reason},
        )
    elif isinstance(state, ApiError) and state.reason != NEEDS_KEY:
        yield Finding(
            code="engine_failing",
            message=N_("{engine} answers, but not as an engine does: {reason}."),
            remedy=N_("Look into its own log."),
            values={**values, "reason": state.reason},
        )
    elif isinstance(state, Degraded) and state.reason != STARTING:
        yield Finding(
            code="engine_degraded",
            message=N_("{engine} runs badly: {reason}."),
            values={**values, "reason": state.reason},
            level="note",
        )
