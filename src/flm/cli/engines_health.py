"""`flm engines health-history`: how the engines were."""

from __future__ import annotations

import click

from flm.cli import documents, phrases
from flm.cli.commands import command, option, pass_session
from flm.cli.session import Session
from flm.errors import N_


@command(
    "health-history",
    help=N_(
        "Show how the engines were, newest first.\n\n"
        "Every change of an engine's state, and one line a minute in between, as the controller "
        "saw it while it ran. Kept as long as the setting engine.history_days says."
    ),
)
@click.argument("name", required=False)
@option("--since", metavar="WHEN", help=N_("From then on: 15m, 2h, 3d ago, or a date."))
@option("--limit", type=int, default=50, metavar="N", help=N_("At most so many (50)."))
@pass_session
def health_history(session: Session, name: str | None, since: str | None, limit: int) -> None:
    """Search the history."""
    with session.services() as services:
        marks = services.engine_health.history(name, since, limit)
    if session.json:
        session.document({"history": [documents.health_mark(each) for each in marks]})
    elif not marks:
        session.note(N_("Nothing is recorded that matches."))
    else:
        rows = [phrases.health_row(session.words, each) for each in marks]
        session.table(phrases.HEALTH_HEADINGS, rows)
