"""`flm config`: the settings, typed, with what they mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from flm.cli.commands import Group, add_to, command, option, pass_session
from flm.cli.session import Session
from flm.errors import N_

if TYPE_CHECKING:
    from flm.services.settings import SettingView

config = Group(
    "config",
    help=N_(
        "Settings: what they are and what they mean.\n\n"
        "A setting is taken from the command line, else from its FLM_… variable, else from what "
        "`flm config set` stored, else its default holds."
    ),
)

_TAKES_FLAGS = ".arguments"
"""How the settings end whose values may begin with dashes; elsewhere that is a slip."""

_DEFAULT = "models.default"
_ODD = {
    "api_model_missing": N_("No engine offers {model} at the moment, and no API has that name."),
    "api_remote": N_("Prompts to {model}, for whatever name, leave this machine."),
}
"""What may be odd about the model that answers for unknown names."""

_SOURCES = {
    "default": N_("default"),
    "stored": N_("stored"),
    "environment": N_("environment"),
    "command line": N_("command line"),
}


@command("list", help=N_("List every setting with its value and meaning."))
@pass_session
def list_(session: Session) -> None:
    """List the settings."""
    with session.services() as services:
        views = services.settings.list()
    if session.json:
        session.document({"settings": [_document(session, view) for view in views]})
        return
    session.table(
        (N_("Setting"), N_("Value"), N_("From"), N_("Meaning")),
        [
            (view.name, _text(view.value), _source(session, view), session.words(view.doc))
            for view in views
        ],
    )


@command("get", help=N_("Show one setting's value."))
@click.argument("name")
@pass_session
def get(session: Session, name: str) -> None:
    """Show one setting."""
    with session.services() as services:
        view = services.settings.get(name)
    _show(session, view)


@command(
    "set",
    help=N_("Store a setting's value; what runs applies it at once where it can."),
    context_settings={"ignore_unknown_options": True},  # a value such as '-m FILE' is none
)
@click.argument("name")
@click.argument("value", required=False)
@option("--default", "to_default", is_flag=True, help=N_("Forget what is stored."))
@pass_session
def set_(session: Session, name: str, value: str | None, to_default: bool) -> None:
    """Store a setting, or forget what was stored."""
    if to_default == (value is not None):
        raise click.UsageError(session.words(N_("Give either a value or --default.")))
    if value is not None and value.startswith("--") and not name.endswith(_TAKES_FLAGS):
        raise click.NoSuchOption(value)
    with session.services() as services:
        settings = services.settings
        view = settings.reset(name) if value is None else settings.set(name, value)
        odd = services.publications.oddities(str(view.value)) if name == _DEFAULT else ()
    _show(session, view)
    for code in odd:
        session.note(_ODD[code], model=view.value)
    if view.source in ("environment", "command line"):
        session.note(
            N_("Stored, but {variable} says otherwise, and it goes before."), variable=view.variable
        )


add_to(config, list_, get, set_)


def _show(session: Session, view: SettingView) -> None:
    """The value alone on stdout, so that a script can take it; what it means on stderr."""
    if session.json:
        session.document(_document(session, view))
        return
    session.note(
        N_("{name} ({source}; default: {default}). {meaning}"),
        name=view.name,
        source=_source(session, view),
        default=_text(view.default),
        meaning=session.words(view.doc),
    )
    session.write(_text(view.value))


def _document(session: Session, view: SettingView) -> dict[str, Any]:
    return {
        "name": view.name,
        "value": view.value,
        "default": view.default,
        "source": view.source,
        "variable": view.variable or None,
        "meaning": session.words(view.doc),
    }


def _source(session: Session, view: SettingView) -> str:
    return session.words(_SOURCES[view.source])


def _text(value: object) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(map(str, value)) or "-" if isinstance(value, tuple) else str(value)
