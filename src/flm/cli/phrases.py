"""FLM's things as people read them, in their language."""

from __future__ import annotations

import functools
import re

from flm.cli import terminal
from flm.cli.when import local
from flm.domain.engines import (
    NEEDS_KEY,
    STARTING,
    ApiError,
    Degraded,
    Engine,
    Finding,
    Healthy,
    InstalledOnly,
    NetworkError,
)
from flm.domain.keys import ApiKey, KeyState
from flm.domain.models import Model
from flm.domain.reasons import TEMPLATES
from flm.errors import N_
from flm.language import Words
from flm.ports.telemetry import HealthMark
from flm.services.engine_states import REASONS

ENGINE_HEADINGS = (
    N_("Engine"), N_("Kind"), N_("State"), N_("Version"), N_("Busy"), N_("Address"),
)  # fmt: skip
MODEL_HEADINGS = (
    N_("Model"), N_("Engine"), N_("Can do"), N_("Context"), N_("Parameters"), N_("Quantisation"),
    N_("Family"), N_("Size"), N_("Notes"),
)  # fmt: skip
HEALTH_HEADINGS = (N_("Time"), N_("Engine"), N_("State"), N_("Took"), N_("Reason"))

_KEY_STATES: dict[KeyState, str] = {
    "active": N_("active"),
    "revoked": N_("revoked"),
    "expired": N_("expired"),
}


def engine_state(words: Words, engine: Engine) -> str:
    """An engine's state in a few words, with its reason."""
    match engine.state:
        case InstalledOnly():
            return words(N_("installed, not running"))
        case Healthy() if engine.kind == "embedded":
            return words(N_("ready"))
        case Degraded(reason=why) if why == STARTING:
            return words(N_("is starting"))
        case ApiError(reason=why) if why == NEEDS_KEY:
            return words(N_("wants a key"))
        case Healthy(latency_ms=latency):
            return words(N_("runs ({latency} ms)"), latency=round(latency))
        case Degraded(latency_ms=latency, reason=why):
            return words(
                N_("runs badly ({latency} ms): {reason}"),
                latency=round(latency),
                reason=reason(words, why),
            )
        case NetworkError(reason=why):
            return words(N_("does not answer: {reason}"), reason=reason(words, why))
        case ApiError(reason=why):
            told = reason(words, why)
            return words(N_("answers, but not as an engine does: {reason}"), reason=told)


def engine_row(words: Words, engine: Engine, *, stale: bool = False) -> tuple[str, ...]:
    """An engine as a row under `ENGINE_HEADINGS`; `!` where there is something to mend."""
    address = engine.address.url if engine.address is not None else "-"
    if engine.remote:
        address = words(N_("{url} (remote)"), url=address)
    state = engine_state(words, engine)
    if stale:
        state = words(N_("last seen {time}"), time=local(engine.checked_at))
    elif any(each.level != "note" for each in engine.findings):
        state = f"{state} !"
    return (
        engine.id,
        terminal.visible(engine.product or engine.kind),
        state,
        terminal.visible(engine.version or "-"),
        "-" if stale else engine_busy(words, engine),
        address,
    )


def engine_busy(words: Words, engine: Engine) -> str:
    """How busy an engine says it is, else how many requests of FLM's it answers; `-` for none."""
    load = engine.load
    if load is None or load.running is None:
        mine = engine.in_flight
        return words(N_("{count} of FLM's"), count=mine) if mine else "-"
    running = f"{load.running}/{load.slots}" if load.slots else f"{load.running}"
    told = [words(N_("{count} run"), count=running)]
    if load.waiting:
        told.append(words(N_("{count} wait"), count=load.waiting))
    if load.cache_usage is not None:
        told.append(words(N_("{share} % cache"), share=round(load.cache_usage * 100)))
    return ", ".join(told)


def reason(words: Words, text: str) -> str:
    """Why a state is what it is; those that hold a value are told by their templates."""
    for template in (*REASONS, *TEMPLATES):
        found = _pattern(template).fullmatch(text)
        if found is not None:
            values = {name: words(value) for name, value in found.groupdict().items()}
            return words(template, **values)
    return words(text)


@functools.cache
def _pattern(template: str) -> re.Pattern[str]:
    """What a template matches when it is filled in."""
    return re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>.+)", re.escape(template)))


_TOLD = frozenset({"reason", "where", "why"})
"""The values of findings that may be messages themselves; others are names, however they read."""


def finding(words: Words, found: Finding) -> list[str]:
    """Something the user should know, and what to do about it, a line each."""
    values = {
        name: terminal.visible(reason(words, value) if name in _TOLD else value)
        for name, value in found.values.items()
    }
    told = [words(found.message, **values)]
    return [*told, words(found.remedy, **values)] if found.remedy else told


def model_row(words: Words, model: Model) -> tuple[str, ...]:
    """A model as a row under `MODEL_HEADINGS`."""
    return (
        model.name,
        model.engine,
        ", ".join(model.capabilities) or "-",
        tokens(model.context_length),
        model.parameters or "-",
        model.quantization or "-",
        model.family or "-",
        size(model.size_bytes),
        ", ".join(model_notes(words, model)) or "-",
    )


def model_notes(words: Words, model: Model) -> list[str]:
    """What is to be known before a model is asked, each in a word or two."""
    notes = [words(N_("remote"))] if model.remote else []
    if model.loaded:
        notes.append(words(N_("loaded")))
    elif model.by_hand:
        notes.append(words(N_("to be loaded first")))
    return notes


def tokens(number: int | None) -> str:
    """A number of tokens."""
    return f"{number:,}" if number else "-"


def size(number: int | None) -> str:
    """Bytes as people count them."""
    if number is None:
        return "-"
    amount = float(number)
    for unit in ("B", "kB", "MB"):
        if amount < 1_000:
            return f"{amount:.0f} {unit}"
        amount /= 1_000
    return f"{amount:.1f} GB"


def key_state(words: Words, key: ApiKey, now: float) -> str:
    """A key's state in a word."""
    return words(_KEY_STATES[key.state(now)])


def listed(names: list[str], limit: int = 8) -> str:
    """Names on one line, the first `limit` of them, safe for a terminal."""
    shown = ", ".join(terminal.visible(name) for name in names[:limit])
    return f"{shown}, … (+{len(names) - limit})" if len(names) > limit else shown


def health_row(words: Words, mark: HealthMark) -> tuple[str, ...]:
    """What an engine was at a time, as a row under `HEALTH_HEADINGS`."""
    took = "-" if mark.latency_ms is None else f"{mark.latency_ms:,.0f} ms"
    told = reason(words, mark.reason) if mark.reason else "-"
    return local(mark.time), mark.engine, mark.state, took, told
