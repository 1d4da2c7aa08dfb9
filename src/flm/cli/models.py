"""`flm models`: what the engines can run, and GGUF files for the embedded engine."""

from __future__ import annotations

import click

from flm.cli import documents, phrases
from flm.cli.commands import Group, add_to, command, option, pass_session
from flm.cli.session import Session
from flm.domain.models import GgufFile
from flm.errors import N_

models = Group(
    "models",
    help=N_(
        "Models: what the engines can run.\n\n"
        "A model's name is its engine's own; `ENGINE/NAME` says which of two is meant. The "
        "context is the effective one, in tokens."
    ),
)


@command("list", help=N_("List the models of every engine."))
@option("--engine", metavar="NAME", help=N_("Only this engine's."))
@pass_session
def list_(session: Session, engine: str | None) -> None:
    """List the models."""
    with session.services() as services:
        found = [
            model
            for model in services.detection.detect().models
            if engine is None or model.engine == engine
        ]
        files = services.models.files()
    if session.json:
        session.document(
            {
                "models": [documents.model(model) for model in found],
                "files": [documents.gguf(file) for file in files],
            }
        )
    elif found:
        session.table(phrases.MODEL_HEADINGS, [phrases.model_row(model) for model in found])
    else:
        session.say(
            N_("No model is there. `flm models add FILE.gguf` adds a file, "
               "`flm up --demo` serves a demo.")
        )  # fmt: skip


@command("add", help=N_("Serve a GGUF file with the embedded engine; the file stays where it is."))
@click.argument("file", metavar="FILE.gguf")
@option("--name", metavar="NAME", help=N_("What clients call it; else the file's own name."))
@pass_session
def add(session: Session, file: str, name: str | None) -> None:
    """Add a file."""
    with session.services() as services:
        added = services.models.add(file, name)
    _added(session, added)


@command("remove", help=N_("Stop serving a file that was added; the file stays."))
@click.argument("name")
@pass_session
def remove(session: Session, name: str) -> None:
    """Forget a file."""
    with session.services() as services:
        services.models.remove(name)
    if session.json:
        session.document({"removed": name})
    else:
        session.say(N_("The model {name} is removed; its file stays."), name=name)


add_to(models, list_, add, remove)


def _added(session: Session, added: GgufFile) -> None:
    if session.json:
        session.document(documents.gguf(added))
    else:
        session.say(N_("The model {name} is added: {path}"), name=added.name, path=added.path)
