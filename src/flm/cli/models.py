"""`flm models`: what the engines can run."""

from __future__ import annotations

import click

from flm.cli import documents, model_facts, phrases
from flm.cli.commands import Group, add_to, command, option, pass_session
from flm.cli.models_keep import load, pull, remove, unload
from flm.cli.session import Session
from flm.errors import N_

models = Group(
    "models",
    help=N_(
        "Models: what the engines can run.\n\n"
        "A model's name is its engine's own; `ENGINE/NAME` says which of two is meant. The "
        "context is the effective one, in tokens. Prompts to what is marked as remote leave this "
        "machine."
    ),
)


@command("list", help=N_("List the models of every engine."))
@option("--engine", metavar="NAME", help=N_("Only this engine's."))
@option("--fresh", is_flag=True, help=N_("Look at the engines now, whatever is known of them."))
@pass_session
def list_(session: Session, engine: str | None, fresh: bool) -> None:
    """List the models."""
    with session.services() as services:
        found = [
            model
            for model in services.model_keeping.seen(fresh=fresh).models
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
        rows = [phrases.model_row(session.words, model) for model in found]
        session.table(phrases.MODEL_HEADINGS, rows)
    else:
        session.say(
            N_("No model is there. `flm models add FILE.gguf` adds a file, `flm models pull` "
               "fetches a model, `flm up --demo` serves a demo.")
        )  # fmt: skip


@command(
    "show",
    help=N_(
        "Show everything that is known of a model.\n\n"
        "On every engine that has it, with where each fact comes from: the engine, its file, or "
        "a setting of yours."
    ),
)
@click.argument("name")
@option("--engine", metavar="NAME", help=N_("Only on this engine."))
@option("--fresh", is_flag=True, help=N_("Look at the engines now, whatever is known of them."))
@pass_session
def show(session: Session, name: str, engine: str | None, fresh: bool) -> None:
    """Show a model."""
    with session.services() as services:
        found = services.model_keeping.show(name, engine, fresh=fresh)
        settings = services.settings.settings()
        paths = {file.name: file.path for file in services.models.files()}
        facts = [model_facts.gathered(home, settings, paths) for home in found]
    if session.json:
        session.document({"name": name, "homes": [model_facts.document(each) for each in facts]})
        return
    for number, each in enumerate(facts):
        if number:
            session.write()
        model_facts.show(session, each)


@command("add", help=N_("Serve a GGUF file with the embedded engine; the file stays where it is."))
@click.argument("file", metavar="FILE.gguf")
@option("--name", metavar="NAME", help=N_("What clients call it; else the file's own name."))
@pass_session
def add(session: Session, file: str, name: str | None) -> None:
    """Add a file."""
    with session.services() as services:
        added = services.models.add(file, name)
    session.answer(
        documents.gguf(added),
        N_("The model {name} is added: {path}"),
        name=added.name,
        path=added.path,
    )


add_to(models, list_, show, add, pull, remove, load, unload)
