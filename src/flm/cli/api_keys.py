"""`flm api-keys`: who may use the API. A key is shown in clear exactly once, when it is made."""

from __future__ import annotations

import click

from flm.cli import documents, phrases
from flm.cli.commands import Group, add_to, command, option, pass_session
from flm.cli.session import Session
from flm.cli.when import local
from flm.domain.keys import ApiKey, has_form, id_of
from flm.errors import N_, InvalidValue

api_keys = Group(
    "api-keys",
    help=N_(
        "Keys: who may use the API.\n\n"
        "A key is shown when it is made and never again: FLM keeps only a keyed hash of it."
    ),
)


@command("create", help=N_("Make a key and show it, this once."))
@option("--label", required=True, metavar="TEXT", help=N_("What the key is for: laptop, phone …"))
@option(
    "--expires",
    metavar="WHEN",
    help=N_("When it ends: 30d, 12h, 2030-12-31; without it, or with never, it does not."),
)
@option(
    "--keyless-from",
    default="",
    metavar="ADDRESS",
    help=N_(
        "An address of this machine or a private network (127.0.0.1, 192.168.1.0/24): requests "
        "from there that hold no key count as this one's. Whoever can send from there needs none."
    ),
)
@pass_session
def create(session: Session, label: str, expires: str | None, keyless_from: str) -> None:
    """Make a key."""
    from flm.services.keys import parse_expiry

    with session.services() as services:
        ends = None if expires is None else parse_expiry(expires, session.clock.now())
        key, clear = services.keys.create(label, ends, keyless_from.strip())
    _show_once(session, key, clear)


@command("update", help=N_("Change what is said of a key; the key itself stays."))
@click.argument("key")
@option("--label", metavar="TEXT", help=N_("What the key is for: laptop, phone …"))
@option("--expires", metavar="WHEN", help=N_("When it ends: 30d, 12h, 2030-12-31, or never."))
@option(
    "--keyless-from",
    metavar="ADDRESS",
    help=N_("From where requests without a key count as this one's, or none."),
)
@pass_session
def update(
    session: Session, key: str, label: str | None, expires: str | None, keyless_from: str | None
) -> None:
    """Change a key."""
    from msgspec import UNSET

    from flm.services.keys import parse_expiry

    if label is None and expires is None and keyless_from is None:
        raise InvalidValue(
            N_("Nothing is to be changed."),
            remedy=N_("Give --label, --expires or --keyless-from."),
        )
    place = None if keyless_from is None else keyless_from.strip()
    with session.services() as services:
        changed = services.keys.update(
            _id(key),
            label=label,
            expires_at=UNSET if expires is None else parse_expiry(expires, session.clock.now()),
            keyless_from="" if place is not None and place.lower() in ("", "none") else place,
        )
    _describe(session, changed)


@command("list", help=N_("List the keys."))
@pass_session
def list_(session: Session) -> None:
    """List the keys."""
    with session.services() as services:
        keys = services.keys.all()
    now = session.clock.now()
    if session.json:
        session.document({"keys": [documents.key(key, now) for key in keys]})
    elif not keys:
        session.say(N_("There is no key yet. `flm api-keys create --label NAME` makes one."))
    else:
        keyless = (N_("Without a key from"),) if any(key.keyless_from for key in keys) else ()
        session.table(
            (
                N_("Key"),
                N_("Label"),
                N_("State"),
                N_("Made"),
                N_("Ends"),
                N_("Last characters"),
                *keyless,
            ),
            [
                (
                    key.id,
                    key.label,
                    phrases.key_state(session.words, key, now),
                    local(key.created_at),
                    local(_end(key)),
                    key.last4,
                    *((key.keyless_from or "-",) if keyless else ()),
                )
                for key in keys
            ],
        )


@command("show", help=N_("Show what is known of a key."))
@click.argument("key")
@pass_session
def show(session: Session, key: str) -> None:
    """Show one key."""
    with session.services() as services:
        found = services.keys.get(_id(key))
    _describe(session, found)


@command("revoke", help=N_("Revoke a key; when this returns, every gateway refuses it."))
@click.argument("key")
@pass_session
def revoke(session: Session, key: str) -> None:
    """Revoke a key."""
    with session.services() as services:
        revoked = services.keys.revoke(_id(key))
    session.answer(
        documents.key(revoked, session.clock.now()),
        N_("The key {key} is revoked."),
        key=revoked.id,
    )


@command("rotate", help=N_("Make a new key in place of an old one, and show it, this once."))
@click.argument("key")
@option(
    "--grace",
    default="0",
    metavar="SPAN",
    help=N_("How long the old key goes on: 24h, 7d; without it, it ends now."),
)
@pass_session
def rotate(session: Session, key: str, grace: str) -> None:
    """Put a new key in place of an old one."""
    seconds = _seconds(grace)
    with session.services() as services:
        new, clear = services.keys.rotate(_id(key), seconds)
    _show_once(session, new, clear)


add_to(api_keys, create, list_, show, update, revoke, rotate)


def _show_once(session: Session, key: ApiKey, clear: str) -> None:
    """The key alone on stdout, so that a script can take it; what to know of it on stderr."""
    if session.json:
        session.document({"api_key": clear, **documents.key(key, session.clock.now())})
        return
    session.note(
        N_("The key {key} ({label}). It is shown this once; keep it where secrets are kept:"),
        key=key.id,
        label=key.label,
    )
    session.write(clear)


def _describe(session: Session, key: ApiKey) -> None:
    now = session.clock.now()
    if session.json:
        session.document(documents.key(key, now))
        return
    rows = [
        (N_("Key"), key.id),
        (N_("Label"), key.label),
        (N_("State"), phrases.key_state(session.words, key, now)),
        (N_("Made"), local(key.created_at)),
        (N_("Ends"), local(_end(key))),
        (N_("Last characters"), key.last4),
    ]
    if key.keyless_from:
        rows.append((N_("Without a key from"), key.keyless_from))
    if key.rotated_to is not None:
        rows.append((N_("Replaced by"), key.rotated_to))
    session.facts(rows)


def _end(key: ApiKey) -> float | None:
    """When it stops, or stopped, being accepted."""
    ends = [moment for moment in (key.expires_at, key.revoked_at) if moment is not None]
    return min(ends, default=None)


def _id(text: str) -> str:
    """A key's id, also when somebody gave the whole key: the error must not repeat it."""
    return id_of(text.encode()) if has_form(text.encode()) else text


def _seconds(text: str) -> float:
    from flm.services.times import span

    seconds = 0.0 if text.strip() == "0" else span(text)
    if seconds is None:
        raise InvalidValue(
            N_("{text!r} is no time span."),
            remedy=N_("Write a number and s, m, h, d or w, for example 24h."),
            text=text,
        )
    return seconds
