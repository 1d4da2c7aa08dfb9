"""FLM's things as people read them, in their language."""

from __future__ import annotations

from flm.cli import terminal
from flm.domain.engines import ApiError, Degraded, Engine, Healthy, InstalledOnly, NetworkError
from flm.domain.keys import ApiKey, KeyState
from flm.domain.models import Model
from flm.errors import N_
from flm.language import Words

ENGINE_HEADINGS = (N_("Engine"), N_("Kind"), N_("State"), N_("Version"), N_("Address"))
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
    return engine.id, engine.kind, engine_state(words, engine), engine.version or "-", address


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
