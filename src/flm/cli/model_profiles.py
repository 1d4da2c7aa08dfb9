"""`flm model-profiles`: parameters that requests get, and what they are held to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import click

from flm.cli import documents, phrases
from flm.cli.commands import Group, add_to, command, option, pass_session
from flm.cli.pairs import pairs
from flm.cli.session import Session
from flm.domain.publications import Profile
from flm.errors import N_

model_profiles = Group(
    "model-profiles",
    help=N_(
        "Profiles: parameters that requests to an API get.\n\n"
        "Defaults hold where the client says nothing, caps lower what it asks for, and options "
        "are the engine's own, which no client can change. `flm api create … --profile NAME` "
        "lays one over an API."
    ),
)


@command("list", help=N_("List the profiles."))
@pass_session
def list_(session: Session) -> None:
    """List the profiles."""
    with session.services() as services:
        found = services.profiles.all()
        users = {each.name: services.profiles.users(each.name) for each in found}
    if session.json:
        session.document(
            {"profiles": [documents.profile(each, users[each.name]) for each in found]}
        )
    elif not found:
        session.say(
            N_("There is no profile yet. `flm model-profiles save NAME --set temperature=0.2` "
               "makes one.")
        )  # fmt: skip
    else:
        session.table(
            (N_("Profile"), N_("Defaults"), N_("Caps"), N_("Engine options"), N_("APIs")),
            [
                (
                    each.name,
                    _written(each.defaults),
                    _written(each.caps),
                    _written(each.options),
                    phrases.listed(users[each.name]) or "-",
                )
                for each in found
            ],
        )


@command("show", help=N_("Show a profile."))
@click.argument("name")
@pass_session
def show(session: Session, name: str) -> None:
    """Show one profile."""
    with session.services() as services:
        found = services.profiles.get(name)
        users = services.profiles.users(name)
    _describe(session, found, users)


@command(
    "save",
    help=N_(
        "Save a profile, in place of the one of that name.\n\n"
        "It is in force at once for the APIs that have it. Parameters go by OpenAI's names; "
        "engine options are Ollama's, other engines take none with a request. With different "
        "num_ctx for one model, Ollama loads it again each time."
    ),
)
@click.argument("name")
@option(
    "--set",
    "defaults",
    multiple=True,
    metavar="NAME=VALUE",
    help=N_("What holds where a client says nothing: temperature=0.2, max_tokens=512 …"),
)
@option(
    "--cap",
    "caps",
    multiple=True,
    metavar="NAME=VALUE",
    help=N_("The largest value a request may have: max_tokens=2048, temperature=1 …"),
)
@option(
    "--option",
    "options",
    multiple=True,
    metavar="NAME=VALUE",
    help=N_("An option of the engine: num_ctx=16384, keep_alive=30m …"),
)
@pass_session
def save(
    session: Session,
    name: str,
    defaults: tuple[str, ...],
    caps: tuple[str, ...],
    options: tuple[str, ...],
) -> None:
    """Save a profile."""
    with session.services() as services:
        saved = services.profiles.save(
            name, pairs("--set", defaults), pairs("--cap", caps), pairs("--option", options)
        )
        users = services.profiles.users(saved.name)
    session.answer(
        documents.profile(saved, users), N_("The profile {name} is saved."), name=saved.name
    )


@command("delete", help=N_("Delete a profile that no API has."))
@click.argument("name")
@pass_session
def delete(session: Session, name: str) -> None:
    """Delete a profile."""
    with session.services() as services:
        services.profiles.delete(name)
    session.answer({"deleted": name}, N_("The profile {name} is deleted."), name=name)


add_to(model_profiles, list_, show, save, delete)


def _describe(session: Session, found: Profile, users: list[str]) -> None:
    if session.json:
        session.document(documents.profile(found, users))
        return
    rows = [
        (N_("Profile"), found.name),
        (N_("Defaults"), _written(found.defaults)),
        (N_("Caps"), _written(found.caps)),
        (N_("Engine options"), _written(found.options)),
        (N_("APIs"), phrases.listed(users) or "-"),
    ]
    session.facts(rows)


def _written(values: Mapping[str, Any]) -> str:
    """As they are given on the command line."""
    return ", ".join(f"{name}={_value(value)}" for name, value in sorted(values.items())) or "-"


def _value(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:.10g}"
    return json.dumps(value, ensure_ascii=False)
