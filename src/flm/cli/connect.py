"""`flm connect`: the exact settings of a client for this system, written when asked, and proved."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from flm.cli import connect_words, output
from flm.cli.commands import command, option, pass_session
from flm.cli.session import Session
from flm.errors import N_, FlmError
from flm.services.connect.situation import CLIENTS, ClientName

if TYPE_CHECKING:
    from flm.services.connect.proof import Proof
    from flm.services.connect.service import ConnectService
    from flm.services.connect.wishes import Made, Wish

_Write = Callable[[str], None]


@command(
    "connect",
    help=N_(
        "Point a client at FLM: its exact settings for this system, and one real request.\n\n"
        "With --write they are put into the client's own file, beside a backup and with a key "
        "made for it; everything else in the file stays as it is. --undo takes them out again "
        "and revokes that key. Without either, nothing is changed and no key is made. `env` shows "
        "the variables that programs without settings of their own go by."
    ),
)
@click.argument("client", type=click.Choice(CLIENTS))
@option("--model", metavar="NAME", help=N_("The model; without it the best that is served here."))
@option("--key-stdin", is_flag=True, help=N_("Take the client's key from stdin."))
@option("--new-key", metavar="LABEL", help=N_("Make a key of that label, and show it, this once."))
@option("--write", is_flag=True, help=N_("Put the settings into the client's file."))
@option("--undo", is_flag=True, help=N_("Take them out again, and revoke the key made for it."))
@pass_session
def connect(
    session: Session,
    client: ClientName,
    model: str | None,
    key_stdin: bool,
    new_key: str | None,
    write: bool,
    undo: bool,
) -> None:
    """Show, write or undo a client's settings."""
    others = model is not None or key_stdin or new_key is not None or write
    if (undo and others) or (key_stdin and new_key is not None):
        raise click.UsageError(
            session.words(
                N_("--undo stands alone, and --key-stdin and --new-key exclude each other.")
            )
        )
    with session.services() as services:
        if undo:
            connect_words.undone(session, services.connect.undo(client), services.paths.root)
            return
        from flm.services.connect.wishes import Wish

        key = sys.stdin.readline().strip() if key_stdin else None
        _connect(session, services.connect, Wish(client, model, key, new_key, write))


def _connect(session: Session, service: ConnectService, wish: Wish) -> None:
    """Tell what was made before it is proved: a request that fails must not hide a key."""
    made = service.make(wish)
    if session.json:
        proof, failure = _proof(service, made)
        session.document(connect_words.document(made, proof))
        if failure is not None:
            raise failure
        return
    lines_alone = not made.client.writes and not made.settings.files and made.client.needs == 0
    aside: _Write = output.note if lines_alone else output.write
    connect_words.tell(session, made, aside)
    session.note(N_("Asking through FLM …"))
    aside(connect_words.proved(session, service.prove(made)))


def _proof(service: ConnectService, made: Made) -> tuple[Proof | None, FlmError | None]:
    try:
        return service.prove(made), None
    except FlmError as error:
        return None, error
