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
from flm.domain.records import RecordDetails, RequestRecord, details_of, tokens_per_second
from flm.domain.usage import Tally
from flm.errors import N_
from flm.language import Words
from flm.ports.repositories import HealthMark
from flm.services.engine_states import REASONS

ENGINE_HEADINGS = (
    N_("Engine"), N_("Kind"), N_("State"), N_("Version"), N_("Busy"), N_("Address"),
)  # fmt: skip
MODEL_HEADINGS = (
    N_("Model"), N_("Engine"), N_("Can do"), N_("Context"), N_("Parameters"), N_("Quantisation"),
    N_("Family"), N_("Size"), N_("Notes"),
)  # fmt: skip
RECORD_HEADINGS = (
    N_("Time"), N_("Request"), N_("Key"), N_("Model"), N_("Engine"), N_("Route"), N_("Status"),
    N_("Error"), N_("Took"), N_("First token"), N_("Tokens in"), N_("Tokens out"), N_("Client"),
    N_("API"), N_("Cached"), N_("Thoughts"), N_("Tokens a second"), N_("Remote"),
    N_("Tried before"),
)  # fmt: skip
USAGE_HEADINGS = (
    N_("Requests"), N_("Errors"), N_("Tokens in"), N_("Tokens out"), N_("Cached"),
    N_("Thoughts"), N_("Took"), N_("First token"), N_("Tokens a second"),
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


def record_row(words: Words, served: RequestRecord) -> tuple[str, ...]:
    """A request as a row under `RECORD_HEADINGS`; `~`: FLM's own estimate."""
    more = details_of(served)
    cells = (
        local(served.time),
        served.id,
        served.key_id or "-",
        served.model or "-",
        served.engine or "-",
        served.route,
        str(served.status),
        served.error or "-",
        milliseconds(served.latency_ms),
        milliseconds(served.first_token_ms),
        _counted(served, served.tokens_in),
        _counted(served, served.tokens_out),
        served.client,
        served.api or "-",
        count(served.cached_tokens),
        count(served.reasoning_tokens),
        speed(tokens_per_second(served)),
        words(N_("remote")) if more.remote else "-",
        _tries(more) or "-",
    )
    return tuple(terminal.visible(cell) for cell in cells)


def record_lines(words: Words, served: RequestRecord) -> list[str]:
    """A request on two lines, for a terminal: its columns would not fit."""
    more = details_of(served)
    model = f"{served.model or '-'} @ {served.engine or '-'}"
    first = [local(served.time), str(served.status), served.error, served.route, model]
    if served.api:
        first.append(words(N_("API {name}"), name=served.api))
    if more.remote:
        first.append(words(N_("remote")))
    second = [
        ", ".join(_timing(words, served)),
        served.id,
        words(N_("key {id}"), id=served.key_id or "-"),
        served.client,
    ]
    if more.tries:
        second.append(words(N_("tried before: {engines}"), engines=_tries(more)))
    return [
        indent + terminal.visible("  ".join(filter(None, parts)))
        for indent, parts in (("", first), ("    ", second))
    ]


def _timing(words: Words, served: RequestRecord) -> list[str]:
    timing = [milliseconds(served.latency_ms)]
    if served.first_token_ms is not None:
        timing.append(words(N_("first token {ms}"), ms=milliseconds(served.first_token_ms)))
    if served.tokens_in is not None or served.tokens_out is not None:
        sent, received = (_counted(served, of) for of in (served.tokens_in, served.tokens_out))
        timing.append(words(N_("{sent} → {received} tokens"), sent=sent, received=received))
    if served.cached_tokens:
        timing.append(words(N_("{count} cached"), count=count(served.cached_tokens)))
    if served.reasoning_tokens:
        timing.append(words(N_("{count} of thoughts"), count=count(served.reasoning_tokens)))
    per_second = tokens_per_second(served)
    if per_second is not None:
        timing.append(words(N_("{speed} tokens/s"), speed=speed(per_second)))
    return timing


def _counted(served: RequestRecord, number: int | None) -> str:
    return f"~{count(number)}" if served.estimated and number is not None else count(number)


def _tries(more: RecordDetails) -> str:
    return ", ".join(f"{each.target} ({each.error})" for each in more.tries)


def usage_cells(tally: Tally) -> tuple[str, ...]:
    """Sums as cells under `USAGE_HEADINGS`; `~`: some of the tokens are FLM's own estimate."""
    mark = "~" if tally.estimated else ""
    return (
        count(tally.requests),
        count(tally.errors),
        mark + count(tally.tokens_in),
        mark + count(tally.tokens_out),
        count(tally.cached_tokens),
        count(tally.reasoning_tokens),
        milliseconds(tally.mean_latency_ms),
        milliseconds(tally.mean_first_token_ms),
        speed(tally.tokens_per_second),
    )


def milliseconds(value: float | None) -> str:
    """A time that something took."""
    return "-" if value is None else f"{value:,.0f} ms"


def count(number: int | None) -> str:
    """A number of things, 0 included."""
    return "-" if number is None else f"{number:,}"


def speed(per_second: float | None) -> str:
    """Tokens a second."""
    return "-" if per_second is None else f"{per_second:,.1f}"
