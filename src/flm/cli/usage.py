"""`flm usage`: who used what, by sums that are kept longer than the requests themselves."""

from __future__ import annotations

from typing import get_args

import click

from flm.cli import documents, output, served
from flm.cli.commands import command, option, pass_session
from flm.cli.session import ALL_FORMATS, Session
from flm.cli.when import iso
from flm.domain.usage import By, Tally
from flm.errors import N_
from flm.services.usage import UsageReport, UsageRow

_HEADINGS: dict[By, str] = {
    "key": N_("Key"),
    "model": N_("Model"),
    "engine": N_("Engine"),
    "api": N_("API"),
    "day": N_("Day (UTC)"),
    "hour": N_("Hour (UTC)"),
}


@command(
    "usage",
    help=N_(
        "Show who used what, and how fast it was.\n\n"
        "Requests that no engine was asked for are counted without a model. Took: the mean of "
        "what went well. ~ marks tokens that FLM estimated, in part at least, where an engine "
        "told none. Days and hours are UTC; of hours the last seven days are shown unless --since "
        "says otherwise. Hours are kept as long as the setting "
        "usage.keep_days says, before that whole days are shown.\n\n"
        "--format csv gives a table for spreadsheets, without the total."
    ),
    formats=ALL_FORMATS,
)
@option(
    "--by",
    type=click.Choice(get_args(By)),
    default="model",
    help=N_("What to tell apart (model)."),
)
@option("--since", metavar="WHEN", help=N_("From then on: 2h, 3d ago, or a date; whole hours."))
@option("--until", metavar="WHEN", help=N_("Up to then: 2h, 3d ago, or a date, all of it."))
@option("--key", metavar="KEY", help=N_("Only this key, by its id."))
@option("--model", metavar="NAME", help=N_("Only this model, as the client named it."))
@pass_session
def usage(
    session: Session,
    by: By,
    since: str | None,
    until: str | None,
    key: str | None,
    model: str | None,
) -> None:
    """Show what was used."""
    with session.services() as services:
        told = services.usage.report(by, since, until, key, model)
    if session.json:
        session.document(_document(told))
    elif session.form == "csv":
        _csv(told)
    elif not told.rows:
        session.note(N_("Nothing was used in that time."))
    else:
        _table(session, told)


def _document(told: UsageReport) -> documents.Document:
    """What was used; a row names the key (with its label), model, engine, API, day or hour."""
    return {
        "by": told.by,
        "since": iso(told.since),
        "until": iso(told.until),
        "rows": [{**_names(told.by, row), **_sums(row.tally)} for row in told.rows],
        "total": _sums(told.total),
    }


def _names(by: By, row: UsageRow) -> documents.Document:
    """What a row is of; null where there was none. Days and hours are UTC."""
    if by == "key":
        return {"key_id": row.name or None, "label": row.label}
    return {by: row.name or None}


def _sums(sums: Tally) -> documents.Document:
    """The sums of records; means are null where nothing was measured."""
    return {
        "requests": sums.requests,
        "errors": sums.errors,
        "tokens_in": sums.tokens_in,
        "tokens_out": sums.tokens_out,
        "cached_tokens": sums.cached_tokens,
        "reasoning_tokens": sums.reasoning_tokens,
        "estimated_requests": sums.estimated,
        "untold_requests": sums.untold,
        "mean_latency_ms": documents.rounded(sums.mean_latency_ms),
        "mean_first_token_ms": documents.rounded(sums.mean_first_token_ms),
        "tokens_per_second": documents.rounded(sums.tokens_per_second),
    }


def _csv(told: UsageReport) -> None:
    """The columns are named as the fields of the JSON document are, rows or none."""
    empty = UsageRow(name="", label=None, tally=told.total)
    headings = [*_names(told.by, empty), *_sums(told.total)]
    rows = [[*_names(told.by, row).values(), *_sums(row.tally).values()] for row in told.rows]
    output.csv(headings, rows)


def _table(session: Session, told: UsageReport) -> None:
    rows = [(_name(row), *served.usage_cells(row.tally)) for row in told.rows]
    total = (session.words(N_("Total")), *served.usage_cells(told.total))
    session.table((_HEADINGS[told.by], *served.USAGE_HEADINGS), [*rows, total])
    if told.total.untold:
        session.note(
            N_("Requests whose tokens nobody told: {count}"),
            count=served.count(told.total.untold),
        )


def _name(row: UsageRow) -> str:
    return f"{row.label} ({row.name})" if row.label is not None else row.name or "-"
