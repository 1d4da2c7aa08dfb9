"""click with FLM's manners: help in the reader's language and width, the same options everywhere.

`--lang`, `--data-dir`, `--format` and `--debug` are accepted before and after every command.
Command groups are imported when they are used, so that `flm --help` stays quick.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar, cast

import click

from flm.cli import terminal
from flm.cli.session import ALL_FORMATS, FORMATS, Format, Session
from flm.errors import N_, InvalidValue
from flm.language import LANGUAGES, Words

_Function = TypeVar("_Function", bound=Callable[..., Any])


def session_of(ctx: click.Context) -> Session:
    """The session this invocation runs in."""
    session = ctx.find_object(Session)
    assert session is not None, "flm.cli.entry.run gives every context its session"
    return session


pass_session = click.make_pass_decorator(Session)


class Formatter(click.HelpFormatter):
    """Help pages measured in terminal columns, so that Japanese lines up and wraps."""

    def write_text(self, text: str) -> None:
        """Paragraphs; one that begins with a line holding only a backspace keeps its lines."""
        indent = " " * self.current_indent
        width = max(self.width - self.current_indent, 20)
        for number, paragraph in enumerate(text.split("\n\n")):
            if number:
                self.write("\n")
            kept = paragraph.startswith("\b\n")
            lines = paragraph[2:].split("\n") if kept else terminal.wrap(paragraph, width)
            self.write("".join(f"{indent}{line}\n" for line in lines))

    def write_dl(
        self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2
    ) -> None:
        """Terms on the left, what they mean wrapped on the right."""
        table = list(rows)
        indent = " " * self.current_indent
        left = min(max(terminal.cells(term) for term, _ in table), col_max) + col_spacing
        width = max(self.width - self.current_indent - left, 20)
        for term, meaning in table:
            lines = terminal.wrap(meaning, width)
            fits = terminal.cells(term) <= left - col_spacing
            first = terminal.pad(term, left) + lines.pop(0) if fits else term
            self.write(f"{indent}{first.rstrip()}\n")
            self.write("".join(f"{indent}{' ' * left}{line}\n" for line in lines))


class Context(click.Context):
    """click's context with our formatter."""

    formatter_class = Formatter


class Option(click.Option):
    """An option whose help is translated when it is shown. ``common``: every command has it."""

    common = False

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """click's record with the help in the reader's language."""
        record = super().get_help_record(ctx)
        if record is None or not self.help:
            return record
        term, meaning = record
        return term, session_of(ctx).words(self.help) + meaning.removeprefix(self.help)


class _CommonOption(Option):
    common = True


def _remember(ctx: click.Context, parameter: click.Parameter, value: Any) -> None:
    if value is None or value is False or ctx.resilient_parsing:
        return
    session = session_of(ctx)
    match parameter.name:
        case "lang":
            session.speak(value)
        case "format":
            session.form = value
        case "data_dir":
            session.data_dir = value
        case _:
            session.debug = True


def _common_options(formats: Sequence[Format]) -> list[click.Parameter]:
    def make(*names: str, **more: Any) -> click.Parameter:
        return _CommonOption(names, expose_value=False, callback=_remember, **more)

    return [
        make("--data-dir", metavar="DIR", help=N_("Where FLM keeps its data (FLM_DATA_DIR).")),
        make("--format", type=click.Choice(formats), help=N_("For people, or for programs.")),
        make("--lang", type=click.Choice(LANGUAGES), help=N_("The language (FLM_LANG).")),
        make("--debug", is_flag=True, help=N_("Show where an unexpected error came from.")),
    ]


class Command(click.Command):
    """A command of FLM's; its callback takes the session first (`pass_session`).

    ``formats``: what it can answer in.
    """

    context_class = Context

    def __init__(
        self,
        name: str | None,
        *,
        params: list[click.Parameter] | None = None,
        formats: Sequence[Format] = FORMATS,
        **more: Any,
    ) -> None:
        super().__init__(name, params=[*(params or []), *_common_options(formats)], **more)
        self._formats = formats

    def invoke(self, ctx: click.Context) -> Any:
        """As click's; refuses a format that was asked for before the command's name."""
        form = session_of(ctx).form
        if form not in self._formats:
            raise InvalidValue(
                N_("This command answers in {formats}, not in {form}."),
                formats=", ".join(self._formats),
                form=form,
            )
        return super().invoke(ctx)

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        """click's, which it keeps in the language of its first use, in that of now."""
        found = super().get_help_option(ctx)
        if found is not None:
            found.help = session_of(ctx).words(N_("Show this message and exit."))
        return found

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The help in the reader's language."""
        if self.help:
            formatter.write_paragraph()
            with formatter.indentation():
                formatter.write_text(help_text(self, session_of(ctx).words))

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The command's own options, then those that every command has."""
        own: list[tuple[str, str]] = []
        common: list[tuple[str, str]] = []
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                (common if getattr(parameter, "common", False) else own).append(record)
        words = session_of(ctx).words
        for heading, rows in ((N_("Options"), own), (N_("Options of every command"), common)):
            if rows:
                with formatter.section(words(heading)):
                    formatter.write_dl(rows)


def help_text(command: click.Command, words: Words) -> str:
    """The command's help in that language; paragraphs are apart by an empty line."""
    return words(command.help) if command.help else ""


class Lazy(NamedTuple):
    """A command that is imported when it is used: `module:attribute`, and its line in the list."""

    target: str
    summary: str


class Group(Command, click.Group):
    """A group of commands, listed in the order they were written."""

    def __init__(self, name: str, *, lazy: Mapping[str, Lazy] | None = None, **more: Any) -> None:
        super().__init__(
            name,
            callback=click.pass_context(_alone),
            invoke_without_command=True,
            subcommand_metavar="COMMAND [ARGS]...",
            formats=ALL_FORMATS,
            **more,
        )
        self._lazy = dict(lazy or {})

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, those not imported yet included."""
        return [*self.commands, *self._lazy]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, imported if need be."""
        if cmd_name not in self._lazy:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = self._lazy[cmd_name].target.partition(":")
        return cast(click.Command, getattr(importlib.import_module(module), attribute))

    def summary(self, name: str, words: Words) -> str:
        """One line about a command, without importing it: its help's first paragraph."""
        if name in self._lazy:
            return words(self._lazy[name].summary)
        return help_text(self.commands[name], words).partition("\n\n")[0]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's, but lazy commands are among what might have been meant."""
        name = args[0]
        if name not in self._lazy and name not in self.commands and not name.startswith("-"):
            raise click.NoSuchCommand(name, possibilities=self.list_commands(ctx), ctx=ctx)
        return super().resolve_command(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands first: they are what people look for."""
        words = session_of(ctx).words
        with formatter.section(words(N_("Commands"))):
            formatter.write_dl(
                [(name, self.summary(name, words)) for name in self.list_commands(ctx)]
            )
        Command.format_options(self, ctx, formatter)


def _alone(ctx: click.Context) -> None:
    """A group without a command shows its help."""
    if ctx.invoked_subcommand is None:
        session_of(ctx).write(ctx.get_help())


def command(name: str, *, help: str, **more: Any) -> Callable[[_Function], Command]:
    """Make a function a command; the first paragraph of `help` stands in its group's list."""
    return click.command(name, cls=Command, help=help, **more)


def option(*names: str, **more: Any) -> Callable[[_Function], _Function]:
    """Give a command an option; `help` is an `N_` message."""
    return click.option(*names, cls=Option, **more)


def add_to(group: Group, *commands: click.Command) -> None:
    """Put commands into their group, in this order."""
    for member in commands:
        group.add_command(member)


def names_of(parameter: click.Parameter) -> Sequence[str]:
    """How an option is written."""
    return [*parameter.opts, *parameter.secondary_opts]
