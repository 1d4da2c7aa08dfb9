"""`flm models pull`, `remove`, `load` and `unload`: changing what the engines hold."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import click

from flm.cli import documents, output, phrases, terminal
from flm.cli.commands import command, option, pass_session
from flm.cli.progress import progress
from flm.cli.session import Session
from flm.domain.engines import Engine
from flm.errors import N_, InvalidValue
from flm.services.model_homes import Home
from flm.services.model_keeping import Removal


@command(
    "pull",
    help=N_(
        "Fetch a model.\n\n"
        "By the engine's own name for it (`qwen3:8b` for Ollama), with --engine or as "
        "`ENGINE/NAME` where several engines can fetch. The embedded engine takes the URL of a "
        ".gguf file, a file of yours, or hf.co/OWNER/REPO[:QUANTISATION]. What was interrupted "
        "goes on when the command is run again."
    ),
)
@click.argument("name", metavar="NAME|URL|FILE")
@option("--engine", metavar="ENGINE", help=N_("The engine that is to have it."))
@option("--sha256", metavar="HEX", help=N_("The checksum that the file must have."))
@option("--name", "call_it", metavar="NAME", help=N_("What clients call it; for files."))
@pass_session
def pull(
    session: Session, name: str, engine: str | None, sha256: str | None, call_it: str | None
) -> None:
    """Fetch a model."""
    with session.services() as services:
        keeping = services.model_keeping
        meant, own = keeping.puller(name, engine)
        _tell_remote(session, meant)
        with _resumable(session), progress(session) as show:
            pulled = keeping.pull(meant, own, show, call_it=call_it, sha256=sha256)
    if session.json:
        session.document(documents.pulled(pulled))
    elif pulled.path is not None:
        session.say(N_("The model {name} is there: {path}"), name=pulled.name, path=pulled.path)
    else:
        session.say(
            N_("The model {name} is there, on {engine}."),
            name=terminal.visible(pulled.name),
            engine=pulled.engine.id,
        )


@command(
    "remove",
    help=N_(
        "Remove a model.\n\n"
        "The engine deletes it from its disk. Of the embedded engine's files those that FLM "
        "fetched are deleted; yours stay where they are."
    ),
)
@click.argument("name")
@option("--engine", metavar="ENGINE", help=N_("The engine that has it."))
@option("--yes", is_flag=True, help=N_("Do not ask before something is deleted."))
@option("--force", is_flag=True, help=N_("Even while requests run on its engine."))
@pass_session
def remove(session: Session, name: str, engine: str | None, yes: bool, force: bool) -> None:
    """Remove a model."""
    with session.services() as services:
        keeping = services.model_keeping
        removal = keeping.removal(name, engine, force=force)
        model = removal.home.model
        if removal.deletes and not yes and not _agrees(session, removal):
            session.note(N_("Nothing was changed."))
            raise click.exceptions.Exit(1)
        keeping.remove(removal)
    if session.json:
        session.document(
            {
                "removed": model.name,
                "engine": model.engine,
                "deleted": removal.deletes,
                "files": [str(path) for path in removal.files],
            }
        )
    elif removal.deletes:
        session.say(
            N_("The model {name} is deleted from {engine}."),
            name=terminal.visible(model.name),
            engine=model.engine,
        )
    else:
        session.say(
            N_("The model {name} is removed; its file stays."), name=terminal.visible(model.name)
        )


@command(
    "load",
    help=N_(
        "Have a model in memory before the first request comes.\n\n"
        "With the context length that is set for it (engines.ENGINE.num_ctx), where its engine "
        "takes one."
    ),
)
@click.argument("name")
@option("--engine", metavar="ENGINE", help=N_("The engine that has it."))
@pass_session
def load(session: Session, name: str, engine: str | None) -> None:
    """Load a model."""
    with session.services() as services, progress(session) as show:
        home = services.model_keeping.load(name, engine, show)
    if session.json:
        session.document(_told(home))
        return
    values = {"name": terminal.visible(home.model.name), "engine": home.engine.id}
    if home.model.context_length:
        session.say(
            N_("The model {name} is in memory, on {engine}, with a context of {count} tokens."),
            count=phrases.tokens(home.model.context_length),
            **values,
        )
    else:
        session.say(N_("The model {name} is in memory, on {engine}."), **values)


@command(
    "unload",
    help=N_(
        "Take a model out of memory.\n\n"
        "What runs on it ends first. The next request for it loads it again, where its engine "
        "does that."
    ),
)
@click.argument("name")
@option("--engine", metavar="ENGINE", help=N_("The engine that has it."))
@pass_session
def unload(session: Session, name: str, engine: str | None) -> None:
    """Unload a model."""
    with session.services() as services, progress(session) as show:
        home = services.model_keeping.unload(name, engine, show)
    session.answer(
        _told(home),
        N_("The model {name} is out of memory, on {engine}."),
        name=terminal.visible(home.model.name),
        engine=home.engine.id,
    )


def _told(home: Home) -> documents.Document:
    return {
        "model": home.model.name,
        "engine": home.engine.id,
        "loaded": home.model.loaded,
        "context_length": home.model.context_length,
    }


def _tell_remote(session: Session, engine: Engine) -> None:
    if engine.remote and engine.address is not None and not session.json:
        session.note(
            N_("{engine} is on another machine: the model is fetched there, at {url}."),
            engine=engine.id,
            url=engine.address.url,
        )


@contextlib.contextmanager
def _resumable(session: Session) -> Iterator[None]:
    """Say after Ctrl-C that nothing is lost."""
    try:
        yield
    except KeyboardInterrupt:
        if not session.json:
            output.note("")
            session.note(N_("Stopped. What has come is kept: run the same command again to go on."))
        raise


def _agrees(session: Session, removal: Removal) -> bool:
    """Whether a person agrees to what is deleted. Raises `InvalidValue` where nobody can."""
    engine, model = removal.home.engine, removal.home.model
    values = {
        "name": terminal.visible(model.name),
        "engine": engine.id,
        "size": phrases.size(model.size_bytes),
        "url": engine.address.url if engine.address is not None else "",
    }
    if not output.can_ask():
        raise InvalidValue(
            N_("{name} would be deleted from {engine}, and nobody can be asked."),
            remedy=N_("Say --yes if that is what you want."),
            code="not_confirmed",
            **values,
        )
    if engine.remote:
        session.note(N_("{engine} is on another machine, at {url}."), **values)
    for path in removal.files:
        session.note("{path}", path=path)
    question = session.words(N_("Delete {name} ({size}) from {engine}? [y/N]"), **values)
    return output.ask(question).lower() in ("y", "yes", "j", "はい")
