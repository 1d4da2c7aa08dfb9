"""`flm check`: whether everything is as it should be."""

from __future__ import annotations

import click

from flm.cli import documents, phrases, terminal
from flm.cli.commands import command, pass_session
from flm.cli.session import Session
from flm.domain.engines import Finding
from flm.errors import N_
from flm.services.check import Area, AreaName

_AREAS: dict[AreaName, str] = {
    "process": N_("Controller and gateway"),
    "files": N_("Data directory"),
    "databases": N_("Databases"),
    "secrets": N_("Pepper and master key"),
    "access": N_("Clients without keys"),
    "journal": N_("Journal"),
    "engines": N_("Engines"),
}
_LEVELS = {"error": N_("error"), "warning": N_("warning"), "note": N_("note")}


@command(
    "check",
    help=N_(
        "Check whether everything is as it should be; changes nothing.\n\n"
        "Controller and gateway, the data directory and who may read it, the databases, pepper "
        "and master key, who needs no key, the journal, the engines: whether they answer, can be "
        "reached around FLM, or have known holes. Exit code 1 when something is worse than a note."
    ),
)
@pass_session
def check(session: Session) -> None:
    """Check everything."""
    with session.services() as services:
        report = services.check.run()
    if session.json:
        session.document(documents.report(report))
    else:
        for area in report.areas:
            _show(session, area)
    if not report.fine:
        raise click.exceptions.Exit(1)


def _show(session: Session, area: Area) -> None:
    name = session.words(_AREAS[area.name])
    if not area.findings:
        session.say(N_("{area}: all is well"), area=name)
        return
    session.write(f"{name}:")
    for finding in area.findings:
        _tell(session, finding)


def _tell(session: Session, finding: Finding) -> None:
    message, *remedy = phrases.finding(session.words, finding)
    level = session.words(_LEVELS[finding.level])
    session.write(f"  {level}: {terminal.visible_lines(message)}")
    for line in remedy:
        session.write(f"    {terminal.visible_lines(line)}")
