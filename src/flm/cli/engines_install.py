"""`flm engines install` and `uninstall`: an engine of FLM's own, without admin rights."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from flm.cli import documents, output
from flm.cli.commands import command, option, pass_session
from flm.cli.progress import progress
from flm.cli.session import Session
from flm.errors import N_

if TYPE_CHECKING:
    from flm.services.installing import Installer, Outcome

INSTALLABLE = ("ollama",)


@command(
    "install",
    help=N_(
        "Install Ollama for yourself; admin rights are not needed.\n\n"
        "Takes the official release (or what engines.ollama.install_url names), checks its "
        "checksum, and unpacks it into FLM's data directory. Run again after a broken line, it "
        "goes on where it stopped. Nothing is started."
    ),
)
@click.argument("name", type=click.Choice(INSTALLABLE))
@option("--version", metavar="VERSION", help=N_("This version instead of the newest."))
@option("--update", is_flag=True, help=N_("Take the newest even where one is installed."))
@option("--yes", is_flag=True, help=N_("Do not ask."))
@pass_session
def install(session: Session, name: str, version: str | None, update: bool, yes: bool) -> None:
    """Install or update."""
    if version is not None and update:
        raise click.UsageError(session.words(N_("Give either --version or --update.")))
    with session.services() as services:
        installer = services.installing
        if not (yes or _agrees(session, installer)):
            session.note(N_("Nothing was changed."))
            raise click.exceptions.Exit(1)
        with progress(session) as show:
            outcome = asyncio.run(installer.install(version, update=update, progress=show))
    if session.json:
        session.document(documents.installation(name, outcome))
    else:
        _tell(session, name, outcome, update=update)


@command(
    "uninstall",
    help=N_(
        "Remove the Ollama that FLM installed.\n\n"
        "It must not be running. The models that it fetched stay where Ollama keeps them."
    ),
)
@click.argument("name", type=click.Choice(INSTALLABLE))
@pass_session
def uninstall(session: Session, name: str) -> None:
    """Remove what was installed."""
    with session.services() as services:
        was = services.installing.uninstall()
    version = was.version if was is not None else None
    if session.json:
        session.document({"engine": name, "removed": True, "version": version})
        return
    if version is None:
        session.say(N_("What was left of {engine} is removed."), engine=name)
    else:
        session.say(N_("{engine} {version} is removed."), engine=name, version=version)
    session.note(
        N_("Models that Ollama fetched were left alone: they lie in ~/.ollama, or where "
           "OLLAMA_MODELS says.")
    )  # fmt: skip


def _agrees(session: Session, installer: Installer) -> bool:
    """Whether a person agrees; where nobody can be asked, the command itself says it."""
    if not output.can_ask():
        return True
    session.note(
        N_("Ollama (1 to 2 GB) is downloaded from its official releases, or from "
           "engines.ollama.install_url, and unpacked into {folder}."),
        folder=installer.root,
    )  # fmt: skip
    answer = output.ask(session.words(N_("Go on? [Y/n]"))).lower()
    return answer in ("", "y", "yes", "はい")


def _tell(session: Session, name: str, outcome: Outcome, *, update: bool) -> None:
    values = {
        "engine": name,
        "version": outcome.installed.version,
        "path": outcome.program,
        "old": outcome.replaced,
    }
    if not outcome.changed and update:
        session.say(N_("{engine} {version} is installed, and there is no newer one."), **values)
    elif not outcome.changed:
        session.say(
            N_("{engine} {version} is installed already. --update takes a newer one."), **values
        )
    elif outcome.replaced is not None:
        session.say(N_("{engine} {version} is installed in place of {old}: {path}"), **values)
    else:
        session.say(N_("{engine} {version} is installed: {path}"), **values)
    if outcome.still_runs:
        session.note(
            N_("{old} still runs. `flm engines stop {engine}` and `flm engines start {engine}` "
               "change over to {version}."),
            **values,
        )  # fmt: skip
    elif outcome.changed:
        session.note(N_("`flm engines start {engine}` starts it."), **values)
