"""`flm logs`: what was served, and what failed. Neither prompts nor answers are in it."""

from __future__ import annotations

import sys
from typing import Unpack

from flm.cli import documents, output, served
from flm.cli.commands import command, option, pass_session
from flm.cli.session import Session
from flm.domain.records import RequestRecord
from flm.errors import N_
from flm.services.logs import Wanted

SHOWN = 50
SHOWN_BEFORE = 10
"""Records that are shown before those that are followed."""


@command(
    "logs",
    help=N_(
        "Show what was served, newest first, and why what failed did.\n\n"
        "Neither prompts nor answers are recorded. Records are kept as long as the settings "
        "logs.keep_days and logs.keep_records say.\n\n"
        "With --follow the newest come last and new ones follow until Ctrl-C, also while nothing "
        "runs; with --format json each is a document on a line of its own."
    ),
)
@option(
    "--limit",
    type=int,
    metavar="N",
    help=N_("At most so many: 50; with --follow 10 before new ones."),
)
@option("--since", metavar="WHEN", help=N_("From then on: 15m, 2h, 3d ago, or a date."))
@option("--status", metavar="STATUS", help=N_("Only 404, 4xx, 400-499, ok or error."))
@option("--model", metavar="NAME", help=N_("Only this model, as the client named it."))
@option("--key", metavar="KEY", help=N_("Only this key, by its id."))
@option("--engine", metavar="NAME", help=N_("Only this engine."))
@option("--api", metavar="NAME", help=N_("Only this API (`flm api list`)."))
@option("--follow", "-f", is_flag=True, help=N_("Go on with new ones as they come."))
@pass_session
def logs(session: Session, limit: int | None, follow: bool, **wanted: Unpack[Wanted]) -> None:
    """Search the records, or follow them."""
    if follow:
        _follow(session, SHOWN_BEFORE if limit is None else limit, wanted)
        return
    with session.services() as services:
        found = services.logs.search(SHOWN if limit is None else limit, **wanted)
    if session.json:
        session.document({"records": [documents.record(each) for each in found]})
    elif not found:
        session.note(N_("Nothing was served that matches."))
    elif output.is_terminal(sys.stdout):
        _show(session, found)
    else:
        rows = [served.record_row(session.words, each) for each in found]
        session.table(served.RECORD_HEADINGS, rows)


def _follow(session: Session, limit: int, wanted: Wanted) -> None:
    """Show records as they come. Ctrl-C is how it ends, and no failure."""
    with session.services() as services:
        try:
            for found in services.logs.follow(limit, **wanted):
                _show(session, found)
        except KeyboardInterrupt:
            output.note("")


def _show(session: Session, found: list[RequestRecord]) -> None:
    """Records for a terminal; one to a line for programs that read them."""
    for each in found:
        if session.json:
            session.document(documents.record(each))
        elif output.is_terminal(sys.stdout):
            session.write("\n".join(served.record_lines(session.words, each)))
        else:
            session.write("  ".join(served.record_row(session.words, each)))
