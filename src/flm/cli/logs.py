"""`flm logs`: what was served, and what failed. Neither prompts nor answers are in it."""

from __future__ import annotations

import sys

from flm.cli import documents, output, terminal
from flm.cli.commands import command, option, pass_session
from flm.cli.session import Session
from flm.cli.when import local
from flm.domain.records import RequestRecord
from flm.errors import N_

_HEADINGS = (
    N_("Time"),
    N_("Request"),
    N_("Key"),
    N_("Model"),
    N_("Engine"),
    N_("Route"),
    N_("Status"),
    N_("Error"),
    N_("Took"),
    N_("First token"),
    N_("Tokens in"),
    N_("Tokens out"),
    N_("Client"),
)


@command(
    "logs",
    help=N_(
        "Show what was served, newest first, and why what failed did.\n\n"
        "Neither prompts nor answers are recorded. Records are kept as long as the settings "
        "logs.keep_days and logs.keep_records say."
    ),
)
@option("--limit", type=int, default=50, metavar="N", help=N_("At most so many (50)."))
@option("--since", metavar="WHEN", help=N_("From then on: 15m, 2h, 3d ago, or a date."))
@option("--status", metavar="STATUS", help=N_("Only 404, 4xx, 400-499, ok or error."))
@option("--model", metavar="NAME", help=N_("Only this model, as the client named it."))
@option("--key", metavar="KEY", help=N_("Only this key, by its id."))
@pass_session
def logs(
    session: Session,
    limit: int,
    since: str | None,
    status: str | None,
    model: str | None,
    key: str | None,
) -> None:
    """Search the records."""
    with session.services() as services:
        found = services.logs.search(limit, since, status, model, key)
    if session.json:
        session.document({"records": [documents.record(each) for each in found]})
    elif not found:
        session.note(N_("Nothing was served that matches."))
    elif output.is_terminal(sys.stdout):
        session.write("\n".join(_lines(session, each) for each in found))
    else:
        session.table(_HEADINGS, [_row(each) for each in found])


def _lines(session: Session, served: RequestRecord) -> str:
    """A record on two lines, for a terminal: its thirteen columns would not fit."""
    words = session.words
    model = f"{served.model or '-'} @ {served.engine or '-'}"
    timing = [_milliseconds(served.latency_ms)]
    if served.first_token_ms is not None:
        timing.append(words(N_("first token {ms}"), ms=_milliseconds(served.first_token_ms)))
    if served.tokens_in is not None or served.tokens_out is not None:
        tokens = (_count(served.tokens_in), _count(served.tokens_out))
        timing.append(words(N_("{sent} → {received} tokens"), sent=tokens[0], received=tokens[1]))
    first = [local(served.time), str(served.status), served.error, served.route, model]
    second = [", ".join(timing), served.id, words(N_("key {id}"), id=served.key_id or "-")]
    return "\n".join(
        indent + terminal.visible("  ".join(filter(None, parts)))
        for indent, parts in (("", first), ("    ", [*second, served.client]))
    )


def _row(served: RequestRecord) -> tuple[str, ...]:
    return (
        local(served.time),
        served.id,
        served.key_id or "-",
        served.model or "-",
        served.engine or "-",
        served.route,
        str(served.status),
        served.error or "-",
        _milliseconds(served.latency_ms),
        _milliseconds(served.first_token_ms),
        _count(served.tokens_in),
        _count(served.tokens_out),
        served.client,
    )


def _milliseconds(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f} ms"


def _count(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"
