"""`flm api prompts`: the texts that are laid around what clients send, by version."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flm.cli import documents, phrases, terminal
from flm.cli.commands import Group, add_to, command, option, pass_session
from flm.cli.pairs import pairs
from flm.cli.session import Session
from flm.cli.when import local
from flm.errors import N_, InvalidValue

if TYPE_CHECKING:
    from flm.domain.publications import PromptTemplate

prompts = Group(
    "prompts",
    help=N_(
        "Prompt templates: texts laid around what clients send.\n\n"
        "The system text comes before the client's own, the user text around the last message of "
        "the user: {{input}} in it is where that goes. {{date}} is the day of the request (UTC), "
        "other {{names}} are variables: their values come with --var, here as a default or with "
        "the API. What is put in is never read as a variable again."
    ),
)


@command("list", help=N_("List the prompt templates with their versions."))
@pass_session
def list_(session: Session) -> None:
    """List every version."""
    with session.services() as services:
        found = services.prompts.all()
        users = {each.name: services.prompts.users(each.name) for each in found}
    if session.json:
        session.document({"prompts": [documents.prompt(each, users[each.name]) for each in found]})
    elif not found:
        session.say(
            N_("There is no prompt template yet. `flm api prompts set NAME --system TEXT` makes "
               "one.")
        )  # fmt: skip
    else:
        session.table(
            (N_("Prompt template"), N_("Version"), N_("Made"), N_("Variables"), N_("APIs")),
            [
                (
                    each.name,
                    str(each.version),
                    local(each.created_at),
                    ", ".join(_variables(each)) or "-",
                    phrases.listed(users[each.name]) or "-",
                )
                for each in found
            ],
        )


@command("show", help=N_("Show a version of a prompt template, NAME@2; NAME is the newest one."))
@click.argument("name", metavar="NAME[@VERSION]")
@pass_session
def show(session: Session, name: str) -> None:
    """Show one version."""
    with session.services() as services:
        found = services.prompts.get(name)
        users = services.prompts.users(found.name)
    if session.json:
        session.document(documents.prompt(found, users))
        return
    rows = [
        (N_("Prompt template"), f"{found.name}@{found.version}"),
        (N_("Made"), local(found.created_at)),
        (N_("APIs"), phrases.listed(users) or "-"),
    ]
    rows += [(N_("Variable"), text) for text in _variables(found)]
    session.facts(rows)
    for heading, text in ((N_("System text:"), found.system), (N_("User text:"), found.user)):
        if text:
            session.write()
            session.say(heading)
            session.write(terminal.visible_lines(text))


@command(
    "set",
    help=N_(
        "Make a version of a prompt template.\n\n"
        "A version is whole: what is not given is not in it. APIs that name no version have the "
        "new one at once; the others stay with theirs."
    ),
)
@click.argument("name")
@option("--system", metavar="TEXT", help=N_("What comes before the client's system text."))
@option("--system-file", metavar="FILE", help=N_("The same from a file; - is the input."))
@option("--user", metavar="TEXT", help=N_("What the user's text stands in, as {{input}}."))
@option("--user-file", metavar="FILE", help=N_("The same from a file; - is the input."))
@option(
    "--var",
    "variables",
    multiple=True,
    metavar="NAME=TEXT",
    help=N_("What a variable is where an API does not say; as often as there are any."),
)
@pass_session
def set_(
    session: Session,
    name: str,
    system: str | None,
    system_file: str | None,
    user: str | None,
    user_file: str | None,
    variables: tuple[str, ...],
) -> None:
    """Make a version."""
    system = _given(session, "--system", system, system_file)
    user = _given(session, "--user", user, user_file)
    with session.services() as services:
        made = services.prompts.set(name, system, user, pairs("--var", variables))
        users = services.prompts.users(made.name)
    if session.json:
        session.document(documents.prompt(made, users))
        return
    session.say(N_("{name} is the newest version now."), name=f"{made.name}@{made.version}")
    needed = [text for text in _variables(made) if "=" not in text]
    if needed:
        session.note(N_("An API that has it must give: {names}."), names=", ".join(needed))


@command("delete", help=N_("Delete a version, NAME@2, or with NAME all of them."))
@click.argument("name", metavar="NAME[@VERSION]")
@pass_session
def delete(session: Session, name: str) -> None:
    """Delete a version, or all of them."""
    with session.services() as services:
        count = services.prompts.delete(name)
    session.answer({"deleted": name, "versions": count}, N_("{name} is deleted."), name=name)


add_to(prompts, list_, show, set_, delete)


def _variables(template: PromptTemplate) -> list[str]:
    """The variables somebody must give a value, with the template's own where it has one."""
    from flm.domain.prompts import wanted

    own = template.variables
    return [
        f"{name}={own[name]}" if name in own else name
        for name in wanted(template.system, template.user)
    ]


def _given(session: Session, flag: str, text: str | None, file: str | None) -> str:
    """A text from the command line or a file. Raises `InvalidValue` for a file that is none."""
    if text is not None and file is not None:
        raise click.UsageError(
            session.words(N_("Give either {flag} or {off}."), flag=flag, off=f"{flag}-file")
        )
    if file is None:
        return text or ""
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        return data.decode("utf-8-sig").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else N_("it is no UTF-8")
        raise InvalidValue(
            N_("{path} cannot be read: {why}."),
            remedy=N_("Give the path of a text file."),
            path=file,
            why=why or str(error),
        ) from error
