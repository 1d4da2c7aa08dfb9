"""`flm chat`: ask a model, through the running gateway and with the owner's key."""

from __future__ import annotations

import sys
from collections.abc import Iterable

import click

from flm.cli import output, phrases, terminal
from flm.cli.ask import Piece, ask
from flm.cli.commands import command, option, pass_session
from flm.cli.session import Session
from flm.errors import N_, InvalidValue, NotRunning
from flm.wire.control import Status


@command(
    "chat",
    help=N_(
        "Ask a model something through the gateway that runs.\n\n"
        "The answer goes to stdout, as it comes with --stream. The request is recorded like "
        "everybody's, under the key `owner`."
    ),
)
@option("--model", metavar="NAME", help=N_("The model; needed when there is more than one."))
@option("--prompt", metavar="TEXT", required=True, help=N_("What to ask; - reads it from stdin."))
@option("--stream", is_flag=True, help=N_("Show the answer as it comes."))
@pass_session
def chat(session: Session, model: str | None, prompt: str, stream: bool) -> None:
    """Ask, and show the answer."""
    with session.services() as services:
        status = services.proxies.status(wait=_START_SECONDS)
        if status is None or not status.handles:
            raise NotRunning(
                N_("No gateway runs, so there is nothing to ask."),
                remedy=N_("Start it with `flm up`, or with `flm proxy start` in the background."),
            )
        key = services.proxies.owner_key()
    name = model or _only_model(session, status)
    text = _stdin() if prompt == "-" else prompt
    pieces = ask(status.handles[0].base_url, key, name, text, stream=stream)
    if session.json:
        session.document(_document(name, pieces))
    else:
        _show(session, pieces)


_START_SECONDS = 10.0


def _only_model(session: Session, status: Status) -> str:
    """The model there is. More than one is the user's choice, never ours."""
    names = list(dict.fromkeys(model.name for model in status.models))
    if len(names) == 1:
        return names[0]
    if not names:
        raise InvalidValue(
            N_("No model is served."),
            remedy=N_("`flm models list` shows what there is, `flm models add` adds a file."),
        )
    hint = session.words(N_("Choose a model: {models}"), models=phrases.listed(names))
    raise click.UsageError(hint)


def _stdin() -> str:
    text = sys.stdin.buffer.read().decode("utf-8", "replace")
    if not text.strip():
        raise InvalidValue(N_("There was nothing on stdin."))
    return text


def _show(session: Session, pieces: Iterable[Piece]) -> None:
    """The answer's text on stdout; on a terminal without what a terminal would obey."""
    clean = terminal.visible_lines if output.is_terminal(sys.stdout) else str
    finish: str | None = None
    begun = False
    try:
        for piece in pieces:
            finish = piece.finish or finish
            if piece.text:
                begun = True
                output.write(clean(piece.text), end="")
    finally:
        if begun:
            output.write()
    if finish == "length":
        session.note(N_("(The answer was cut: it reached the limit of tokens.)"))
    elif not begun:
        session.note(N_("(The answer is empty.)"))


def _document(name: str, pieces: Iterable[Piece]) -> dict[str, object]:
    """The whole answer as one document."""
    got = list(pieces)
    return {
        "model": next((piece.model for piece in got if piece.model), name),
        "content": "".join(piece.text for piece in got),
        "reasoning": "".join(piece.reasoning for piece in got) or None,
        "finish_reason": next((piece.finish for piece in got if piece.finish), None),
        "usage": next((dict(piece.usage) for piece in got if piece.usage), None),
        "request_id": next((piece.request_id for piece in got if piece.request_id), None),
    }
