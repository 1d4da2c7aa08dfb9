"""`flm engines`: what runs here, and what the user adds by URL."""

from __future__ import annotations

import sys

import click
import msgspec

from flm.cli import documents, phrases
from flm.cli.commands import Group, Lazy, add_to, command, option, pass_session
from flm.cli.session import Session
from flm.domain.engines import Engine
from flm.errors import N_, InvalidValue
from flm.services.engines import ADDABLE

engines = Group(
    "engines",
    lazy={
        "start": Lazy(
            "flm.cli.engines_run:start",
            N_("Start an engine that is installed here, for this machine only."),
        ),
        "stop": Lazy(
            "flm.cli.engines_run:stop",
            N_("Stop an engine that FLM started, when its requests have ended."),
        ),
        "health-history": Lazy(
            "flm.cli.engines_health:health_history",
            N_("Show how the engines were, newest first."),
        ),
        "install": Lazy(
            "flm.cli.engines_install:install",
            N_("Install Ollama for yourself; admin rights are not needed."),
        ),
        "uninstall": Lazy(
            "flm.cli.engines_install:uninstall", N_("Remove the Ollama that FLM installed.")
        ),
    },
    help=N_(
        "Engines: what runs here, and what you add.\n\n"
        "Ollama, vLLM, LM Studio, llama.cpp, text-generation-webui and many that speak OpenAI's "
        "API are found by themselves on this machine, and around it in WSL2 and containers. "
        "Those elsewhere, and on unusual ports, are added by URL."
    ),
)


@command("detect", help=N_("Look for engines now."))
@pass_session
def detect(session: Session) -> None:
    """Look now."""
    with session.services() as services:
        found = services.detection.detect()
    _show(session, list(found.engines))


@command(
    "list",
    help=N_(
        "List the engines, those you added included.\n\n"
        "As what serves watches them. Where nothing does: as they were when they were last looked "
        "at; what is older than engine.cache_ttl_seconds only says when that was."
    ),
)
@option("--fresh", is_flag=True, help=N_("Look at the engines now, whatever is known of them."))
@pass_session
def list_(session: Session, fresh: bool) -> None:
    """List what is known."""
    with session.services() as services:
        found = services.detection.seen(fresh=fresh)
        added = services.engines.definitions()
    known, stale = list(found.engines), found.stale
    seen = {engine.id for engine in known}
    unseen = [each for each in added if each.id not in seen]
    if session.json:
        session.document(
            {
                "engines": [documents.engine(each, stale=each.id in stale) for each in known],
                "added": [documents.definition(each) for each in added],
            }
        )
        return
    rows = [phrases.engine_row(session.words, each, stale=each.id in stale) for each in known]
    not_yet = session.words(N_("added, not looked at yet"))
    rows += [(each.id, each.kind, not_yet, "-", "-", each.address.url) for each in unseen]
    _table(session, rows)
    current = [each for each in known if each.id not in stale]
    _notes(session, [msgspec.structs.replace(engine, detail="") for engine in current])
    if stale:
        session.note(N_("`flm engines list --fresh` looks at the engines now."))


@command("add", help=N_("Add an engine by its URL, on this machine or another."))
@click.argument("name")
@option(
    "--url",
    required=True,
    metavar="URL",
    help=N_("Where it listens, for example http://127.0.0.1:8000/v1 or https://box.example/v1."),
)
@option(
    "--kind",
    type=click.Choice(ADDABLE),
    default="auto",
    help=N_("What it is (auto: told by what it answers; custom: spoken to in OpenAI's way)."),
)
@option("--api-key-stdin", is_flag=True, help=N_("Read the engine's own key from stdin."))
@option(
    "--ca-file",
    metavar="FILE",
    default="",
    help=N_("Who signed its certificate, in PEM form, where that is nobody this system knows."),
)
@pass_session
def add(
    session: Session, name: str, url: str, kind: str, api_key_stdin: bool, ca_file: str
) -> None:
    """Add an engine."""
    key = _key(session) if api_key_stdin else None
    with session.services() as services:
        definition = services.engines.add(name, url, kind, key, ca_file)
    if session.json:
        session.document(documents.definition(definition))
        return
    session.say(
        N_("The engine {name} at {url} is added. `flm engines detect` shows how it is."),
        name=definition.id,
        url=definition.address.url,
    )
    if not definition.address.is_loopback:
        session.note(N_("It is remote: prompts to its models leave this machine."))


@command("remove", help=N_("Forget an engine that was added."))
@click.argument("name")
@pass_session
def remove(session: Session, name: str) -> None:
    """Forget an engine."""
    with session.services() as services:
        services.engines.remove(name)
    session.answer({"removed": name}, N_("The engine {name} is removed."), name=name)


@command("rename", help=N_("Give an engine another name; its key and settings go with it."))
@click.argument("name")
@click.argument("new_name")
@pass_session
def rename(session: Session, name: str, new_name: str) -> None:
    """Give an engine another name."""
    with session.services() as services:
        given = services.engines.rename(name, new_name)
    session.answer(
        {"renamed": name, "id": given},
        N_("The engine {name} is called {given} now."),
        name=name,
        given=given,
    )


@command("set-key", help=N_("Store the key that an engine wants, added or found."))
@click.argument("name")
@option("--api-key-stdin", is_flag=True, help=N_("Read the key from stdin."))
@option("--forget", is_flag=True, help=N_("Forget the key that is stored."))
@pass_session
def set_key(session: Session, name: str, api_key_stdin: bool, forget: bool) -> None:
    """Store or forget an engine's key."""
    if forget == api_key_stdin:
        raise InvalidValue(
            N_("Say where the key comes from: --api-key-stdin, or --forget for none."),
            remedy=N_("For example: flm engines set-key {name} --api-key-stdin < key.txt"),
            name=name,
        )
    key = _key(session) if api_key_stdin else None
    with session.services() as services:
        services.engines.set_key(name, key)
    done = (
        N_("The key of {name} is forgotten.")
        if key is None
        else N_("The key of {name} is stored, sealed.")
    )
    session.answer({"id": name, "has_key": key is not None}, done, name=name)


add_to(engines, detect, list_, add, remove, rename, set_key)


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
    _notes(session, found)


def _notes(session: Session, found: list[Engine]) -> None:
    """What there is to say about the engines besides the table."""
    for engine in found:
        if engine.detail:
            session.note(
                N_("{engine}: {detail}"), engine=engine.id, detail=session.words(engine.detail)
            )
        for finding in engine.findings:
            for line in phrases.finding(session.words, finding):
                session.note(N_("{engine}: {detail}"), engine=engine.id, detail=line)


def _table(session: Session, rows: list[tuple[str, ...]]) -> None:
    if rows:
        session.table(phrases.ENGINE_HEADINGS, rows)
    else:
        session.say(N_("No engine is known. `flm engines detect` looks for them."))
