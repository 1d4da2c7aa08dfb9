"""What was served, and the sums of it, as people read them: for `flm logs` and `flm usage`."""

from __future__ import annotations

from flm.cli import terminal
from flm.cli.when import local
from flm.domain.records import RecordDetails, RequestRecord, details_of, tokens_per_second
from flm.domain.usage import Tally
from flm.errors import N_
from flm.language import Words

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
