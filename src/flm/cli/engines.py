"""`flm engines`: what runs here, and what the user adds by URL."""

from __future__ import annotations

import sys

import click

from flm.cli import documents, phrases
from flm.cli.commands import Group, Lazy, add_to, command, option, pass_session
from flm.cli.session import Session
from flm.domain.engines import Engine
from flm.errors import N_
from flm.services.engines import ADDABLE

engines = Group(
    "engines",
    lazy={
        "install": Lazy(
            "flm.cli.engines_install:install",
            N_("Install Ollama for yourself; admin rights are not needed."),
        ),
        "uninstall": Lazy(
            "flm.cli.engines_install:uninstall", N_("Remove the Ollama that FLM installed.")
        ),
        "start": Lazy(
            "flm.cli.engines_run:start",
            N_("Start an engine that is installed here, for this machine only."),
        ),
        "stop": Lazy(
            "flm.cli.engines_run:stop",
            N_("Stop an engine that FLM started, when its requests have ended."),
        ),
    },
    help=N_(
        "Engines: what runs here, and what you add.\n\n"
        "Ollama and llama.cpp are found where they listen by default and where OLLAMA_HOST and "
        "LLAMA_CPP_PORT say; any other OpenAI-compatible server on this machine is added by URL."
    ),
)


@command("detect", help=N_("Look for engines now."))
@pass_session
def detect(session: Session) -> None:
    """Look now."""
    with session.services() as services:
        found = services.detection.detect()
    _show(session, list(found.engines))


@command("list", help=N_("List the engines as last seen, those you added included."))
@pass_session
def list_(session: Session) -> None:
    """List what is known without looking."""
    with session.services() as services:
        known = list(services.detection.known().engines)
        added = services.engines.definitions()
    seen = {engine.id for engine in known}
    unseen = [each for each in added if each.id not in seen]
    if session.json:
        session.document(
            {
                "engines": [documents.engine(engine) for engine in known],
                "added": [documents.definition(each) for each in added],
            }
        )
        return
    rows = [phrases.engine_row(session.words, engine) for engine in known]
    not_yet = session.words(N_("added, not looked at yet"))
    rows += [(each.id, each.kind, not_yet, "-", each.address.url) for each in unseen]
    _table(session, rows)


@command("add", help=N_("Add an engine of this machine by its URL."))
@click.argument("name")
@option(
    "--url",
    required=True,
    metavar="URL",
    help=N_("Where it listens, for example http://127.0.0.1:8000/v1."),
)
@option(
    "--kind",
    type=click.Choice(ADDABLE),
    default="custom",
    help=N_("How it is spoken to (custom: OpenAI's way)."),
)
@option("--api-key-stdin", is_flag=True, help=N_("Read the engine's own key from stdin."))
@pass_session
def add(session: Session, name: str, url: str, kind: str, api_key_stdin: bool) -> None:
    """Add an engine."""
    key = _key(session) if api_key_stdin else None
    with session.services() as services:
        definition = services.engines.add(name, url, kind, key)
    if session.json:
        session.document(documents.definition(definition))
    else:
        session.say(
            N_("The engine {name} at {url} is added. `flm engines detect` shows how it is."),
            name=definition.id,
            url=definition.address.url,
        )


@command("remove", help=N_("Forget an engine that was added."))
@click.argument("name")
@pass_session
def remove(session: Session, name: str) -> None:
    """Forget an engine."""
    with session.services() as services:
        services.engines.remove(name)
    if session.json:
        session.document({"removed": name})
    else:
        session.say(N_("The engine {name} is removed."), name=name)


add_to(engines, detect, list_, add, remove)


def _key(session: Session) -> str:
    """The key on stdin; asked for without echo where a person sits."""
    if sys.stdin.isatty():
        answer: str = click.prompt(session.words(N_("The engine's key")), hide_input=True, err=True)
        return answer
    return sys.stdin.buffer.read().decode("utf-8", "replace").strip()


def _show(session: Session, found: list[Engine]) -> None:
    if session.json:
        session.document({"engines": [documents.engine(engine) for engine in found]})
        return
    _table(session, [phrases.engine_row(session.words, engine) for engine in found])
    for engine in found:
        if engine.detail:
            session.note(
                N_("{engine}: {detail}"), engine=engine.id, detail=session.words(engine.detail)
            )


def _table(session: Session, rows: list[tuple[str, ...]]) -> None:
    if rows:
        session.table(phrases.ENGINE_HEADINGS, rows)
    else:
        session.say(N_("No engine is known. `flm engines detect` looks for them."))
