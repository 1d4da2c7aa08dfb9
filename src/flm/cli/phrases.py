"""FLM's things as people read them, in their language."""

from __future__ import annotations

from flm.cli import terminal
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
from flm.errors import N_
from flm.language import Words

ENGINE_HEADINGS = (
    N_("Engine"), N_("Kind"), N_("State"), N_("Version"), N_("Load"), N_("Address"),
)  # fmt: skip
MODEL_HEADINGS = (
    N_("Model"), N_("Engine"), N_("Can do"), N_("Context"), N_("Parameters"), N_("Quantisation"),
    N_("Family"), N_("Size"), N_("Notes"),
)  # fmt: skip

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
        case Degraded(reason=reason) if reason == STARTING:
            return words(N_("is starting"))
        case ApiError(reason=reason) if reason == NEEDS_KEY:
            return words(N_("wants a key"))
        case Healthy(latency_ms=latency):
            return words(N_("runs ({latency} ms)"), latency=round(latency))
        case Degraded(latency_ms=latency, reason=reason):
            return words(
                N_("runs badly ({latency} ms): {reason}"),
                latency=round(latency),
                reason=words(reason),
            )
        case NetworkError(reason=reason):
            return words(N_("does not answer: {reason}"), reason=words(reason))
        case ApiError(reason=reason):
            return words(N_("answers, but not as an engine does: {reason}"), reason=words(reason))


def engine_row(words: Words, engine: Engine) -> tuple[str, ...]:
    """An engine as a row under `ENGINE_HEADINGS`."""
    address = engine.address.url if engine.address is not None else "-"
    if engine.remote:
        address = words(N_("{url} (remote)"), url=address)
    return (
        engine.id,
        terminal.visible(engine.product or engine.kind),
        engine_state(words, engine),
        terminal.visible(engine.version or "-"),
        engine_load(words, engine),
        address,
    )


def engine_load(words: Words, engine: Engine) -> str:
    """How busy an engine says it is; `-` where it does not tell."""
    load = engine.load
    if load is None or load.running is None:
        return "-"
    running = f"{load.running}/{load.slots}" if load.slots else f"{load.running}"
    if load.waiting:
        return words(N_("{running}, {waiting} waiting"), running=running, waiting=load.waiting)
    return running


def finding(words: Words, found: Finding) -> list[str]:
    """Something the user should know, and what to do about it, a line each."""
    values = {name: terminal.visible(value) for name, value in found.values.items()}
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
