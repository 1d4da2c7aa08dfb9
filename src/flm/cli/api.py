"""`flm api`: models under names of the owner's, with what is said and allowed around them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from flm.cli import documents, output, phrases
from flm.cli.api_prompts import prompts
from flm.cli.commands import Group, add_to, command, option, pass_session
from flm.cli.pairs import names, pairs
from flm.cli.session import Session
from flm.cli.when import local
from flm.errors import N_, InvalidValue

if TYPE_CHECKING:
    from flm.services.publication_view import Asked, View
    from flm.services.publications import Changes

api = Group(
    "api",
    help=N_(
        "APIs: models under names of your own.\n\n"
        "Clients use an API's name as `model`. Behind it are a model, others that take its place "
        "when it cannot answer, a prompt template, a profile of parameters, and the keys that may "
        "use it. A name with * in it answers for every name that fits and that no model has: "
        "`flm api create 'claude-*' --model qwen3`."
    ),
)

_FALLBACK = option(
    "--fallback", metavar="M2,M3", help=N_("Models that are asked when that one cannot answer.")
)
_KEYS = option(
    "--keys", metavar="K1,K2", help=N_("Only these keys, by id or label, may use it; else all.")
)
_TEMPLATE = option(
    "--prompt-template",
    "template",
    metavar="NAME[@VERSION]",
    help=N_("The prompt template; without a version always the newest one."),
)
_VARIABLES = option(
    "--var",
    "variables",
    multiple=True,
    metavar="NAME=TEXT",
    help=N_("What a variable of the template is; as often as there are any."),
)
_PROFILE = option("--profile", metavar="NAME", help=N_("The model profile."))


@command(
    "create",
    help=N_(
        "Publish a model under a name.\n\n"
        "It is in force at once. The models are named as requests name them, NAME or ENGINE/NAME. "
        "A fallback that is on another machine is asked only with --allow-remote."
    ),
)
@click.argument("name")
@option("--model", required=True, metavar="M", help=N_("The model that answers."))
@_FALLBACK
@_KEYS
@_TEMPLATE
@_VARIABLES
@_PROFILE
@option("--allow-remote", is_flag=True, help=N_("A fallback may be on another machine."))
@pass_session
def create(session: Session, /, name: str, **given: Any) -> None:
    """Publish a model."""
    wanted = _changes(allow_remote=given.pop("allow_remote"), **given)
    with session.services() as services:
        told = services.publications.create(name, wanted)
    _tell(session, told, N_("Clients get {models} by the name {name} now."))


@command("list", help=N_("List the APIs."))
@pass_session
def list_(session: Session) -> None:
    """List the publications."""
    with session.services() as services:
        told = services.publications.all()
    if session.json:
        session.document({"apis": [documents.api(each) for each in told]})
    elif not told:
        session.say(N_("There is no API yet. `flm api create NAME --model MODEL` makes one."))
    else:
        session.table(
            (
                N_("API"),
                N_("Models"),
                N_("Prompt template"),
                N_("Profile"),
                N_("Keys"),
                N_("Notes"),
            ),
            [_row(session, each) for each in told],
        )


@command("show", help=N_("Show what is behind an API, and what is odd about it now."))
@click.argument("name")
@pass_session
def show(session: Session, name: str) -> None:
    """Show one publication."""
    with session.services() as services:
        told = services.publications.get(name)
        labels = {str(key.id): key.label for key in services.keys.all()}
    if session.json:
        session.document(documents.api(told))
        return
    made = told.publication
    template = told.template
    rows = [(N_("API"), made.name)]
    rows += [(N_("Model"), _model(session, each)) for each in told.models]
    rows.append((N_("Keys"), _keys(session, told, labels)))
    if made.template:
        version = "" if template is None else f" (@{template.version})"
        rows.append(
            (N_("Prompt template"), made.template + ("" if "@" in made.template else version))
        )
        rows += [(N_("Variable"), f"{key}={value}") for key, value in made.variables.items()]
    if made.profile:
        rows.append((N_("Profile"), made.profile))
    rows.append((N_("Made"), local(made.created_at)))
    session.facts(rows)
    _warn(session, told)


@command(
    "update",
    help=N_(
        "Change an API; what is not named stays.\n\n"
        "It is in force at once. --var replaces one variable's value, --no-var gives it the "
        "template's own again."
    ),
)
@click.argument("name")
@option("--model", metavar="M", help=N_("The model that answers."))
@_FALLBACK
@option("--no-fallback", is_flag=True, help=N_("No other model is asked."))
@_KEYS
@option("--all-keys", is_flag=True, help=N_("Every key may use it."))
@_TEMPLATE
@option("--no-prompt-template", "no_template", is_flag=True, help=N_("No prompt template."))
@_VARIABLES
@option(
    "--no-var",
    "without",
    multiple=True,
    metavar="NAME",
    help=N_("Forget a variable's value; the template's own holds again."),
)
@_PROFILE
@option("--no-profile", is_flag=True, help=N_("No model profile."))
@option(
    "--allow-remote/--no-remote",
    default=None,
    help=N_("Whether a fallback may be on another machine."),
)
@pass_session
def update(session: Session, /, name: str, **given: Any) -> None:
    """Change a publication."""
    for flag, off in (("fallback", ()), ("template", ""), ("profile", "")):
        if given.pop(f"no_{flag}"):
            _refuse_both(session, given[flag], flag)
            given[flag] = off
    if given.pop("all_keys"):
        _refuse_both(session, given["keys"], "keys")
        given["keys"] = ()
    wanted = _changes(**given)
    with session.services() as services:
        told = services.publications.update(name, wanted)
    _tell(session, told, N_("The API {name} is changed: {models}."))


@command("delete", help=N_("Publish it no longer; the model stays."))
@click.argument("name")
@pass_session
def delete(session: Session, name: str) -> None:
    """Delete a publication."""
    with session.services() as services:
        gone = services.publications.delete(name)
    session.answer({"deleted": gone.name}, N_("The API {name} is deleted."), name=gone.name)


add_to(api, create, list_, show, update, delete, prompts)


def _changes(**given: Any) -> Changes:
    """What the flags say. An empty list would mean everybody or nothing: it is said otherwise."""
    from flm.services.publications import Changes

    for flag in ("fallback", "keys"):
        text = given[flag]
        if isinstance(text, str):
            given[flag] = names(text)
            if not given[flag]:
                raise InvalidValue(
                    N_("--{flag} names nobody."),
                    remedy=N_("Leave it out; `flm api update` has --all-keys and --no-fallback."),
                    flag=flag,
                )
    given["variables"] = pairs("--var", given["variables"])
    return Changes(**given)


def _refuse_both(session: Session, value: object, flag: str) -> None:
    if value is not None:
        off = "--all-keys" if flag == "keys" else f"--no-{_WRITTEN.get(flag, flag)}"
        raise click.UsageError(
            session.words(
                N_("Give either {flag} or {off}."), flag=f"--{_WRITTEN.get(flag, flag)}", off=off
            )
        )


_WRITTEN = {"template": "prompt-template"}


def _tell(session: Session, told: View, template: str) -> None:
    if session.json:
        session.document(documents.api(told))
        return
    asked = [each.name for each in told.models if each.state != "left out"]
    session.say(template, name=told.publication.name, models=phrases.listed(asked))
    _warn(session, told)


def _warn(session: Session, told: View) -> None:
    """What is odd, on stderr: the answer itself stays what it is."""
    for found in told.findings:
        for line in phrases.finding(session.words, found):
            output.note(line)


def _row(session: Session, told: View) -> tuple[str, ...]:
    made = told.publication
    odd = sum(each.level != "note" for each in told.findings)
    count = session.words(N_("all")) if not made.keys else str(len(told.keys))
    return (
        made.name,
        phrases.listed([each.name for each in told.models if each.state != "left out"]),
        made.template or "-",
        made.profile or "-",
        count,
        session.words(N_("see `flm api show`")) if odd else "-",
    )


def _model(session: Session, asked: Asked) -> str:
    notes = {
        "offered": "",
        "missing": session.words(N_("no engine offers it now")),
        "left out": session.words(N_("on another machine: not asked")),
    }[asked.state]
    if asked.remote and not notes:
        notes = session.words(N_("remote"))
    return f"{asked.name} ({notes})" if notes else asked.name


def _keys(session: Session, told: View, labels: dict[str, str]) -> str:
    if not told.publication.keys:
        return session.words(N_("all"))
    shown = [f"{key} ({labels[key]})" if key in labels else key for key in map(str, told.keys)]
    return ", ".join(shown) or session.words(N_("none of them works any more"))
