"""The pages of `docs/` that say what the program says itself: commands, settings, errors.

`python -m flm.cli.docs --write` makes them from the commands, settings and errors there are, in
every language; `--check` fails when a page is not what would be written.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

import flm
from flm.cli import api_document, api_page, error_table
from flm.cli.commands import Context, Group, Option, help_text
from flm.cli.error_index import scan
from flm.cli.root import flm as root
from flm.cli.session import Session
from flm.errors import N_
from flm.language import LANGUAGES, Language, Words, load
from flm.settings import FAMILIES, REGISTRY

PACKAGE = Path(flm.__file__).parent
FOLDER = PACKAGE.parent.parent / "docs"
_MADE = "<!-- Made by `python -m flm.cli.docs --write`; do not edit. -->"


def pages(language: Language) -> dict[str, str]:
    """The generated pages in that language, by file name."""
    words = load(language)
    suffix = "" if language == "en" else f".{language}"
    return {
        f"{name}{suffix}.md": "\n".join([_MADE, "", *lines]) + "\n"
        for name, lines in (
            ("commands", _commands(words)),
            ("settings", _settings(words)),
            ("errors", _errors(words)),
        )
    }


def files() -> dict[str, str]:
    """All that is made from the program, by file name: the pages in every language, the parts of
    `api.md`, and the API's OpenAPI document, which has no language.
    """
    made = {"openapi.json": api_document.text()}
    for language in LANGUAGES:
        made |= pages(language)
        name = "api.md" if language == "en" else f"api.{language}.md"
        if (FOLDER / name).exists():
            text = (FOLDER / name).read_text(encoding="utf-8")
            made[name] = api_page.filled(text, load(language))
    return made


def _commands(words: Words) -> Iterator[str]:
    yield "# " + words(N_("Commands"))
    session = Session({}, words)
    yield from _command(root, Context(root, info_name="flm", obj=session), words)


def _command(command: click.Command, ctx: click.Context, words: Words) -> Iterator[str]:
    usage = " ".join(command.collect_usage_pieces(ctx))
    yield from ("", f"## {ctx.command_path}", "", "```text", f"{ctx.command_path} {usage}", "```")
    if command.help:
        yield from ("", help_text(command, words))
    options = [
        parameter.get_help_record(ctx)
        for parameter in command.params
        if isinstance(parameter, Option) and (ctx.parent is None or not parameter.common)
    ]
    if options:
        yield from ("", *_table([N_("Option"), N_("Meaning")], [o for o in options if o], words))
    if isinstance(command, Group):
        for name in command.list_commands(ctx):
            member = command.get_command(ctx, name)
            assert member is not None
            yield from _command(member, Context(member, info_name=name, parent=ctx), words)


def _settings(words: Words) -> Iterator[str]:
    yield "# " + words(N_("Settings"))
    yield from (
        "",
        words(
            N_("`flm config set NAME VALUE` stores a setting, `flm config set NAME --default` "
               "forgets it. A variable goes before what is stored, a flag before a variable.")
        ),
        "",
    )  # fmt: skip
    rows = [
        (setting.name, _value(setting.default), f"`{setting.variable}`", words(setting.doc))
        for setting in REGISTRY
    ]
    for family in FAMILIES:
        name = f"engines.ENGINE.{family.leaf}{'[MODEL]' if family.per_model else ''}"
        rows.append((name, "-", "-", words(family.doc)))
    yield from _table(
        [N_("Setting"), N_("Default"), N_("Environment variable"), N_("Meaning")], rows, words
    )


def _value(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "-"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if value != "" else "-"


def _errors(words: Words) -> Iterator[str]:
    api, command = scan(PACKAGE)
    yield "# " + words(N_("Errors"))
    yield from ("", "## " + words(N_("Errors of the command")), "")
    yield words(N_("Exit code 1: you can mend it; 2: FLM failed. Codes are never translated."))
    yield ""
    yield from _table(
        [N_("Code"), N_("Exit code"), N_("Message"), N_("What to do")],
        [
            (f"`{e.code}`", str(e.exit_code), words(e.message), words(e.remedy) or "-")
            for e in command
        ],
        words,
    )
    yield from ("", "## " + words(N_("Errors of the API")), "")
    yield words(
        N_("Always in English, in the form of the client's dialect. OpenAI's clients get the code "
           "and the type, Anthropic's their own status and type, Ollama's the status and the "
           "message alone. Clients of Anthropic read from its first words that a prompt is too "
           "long. `Retry-After` is in seconds; `x-should-retry: false` says that the same request "
           "would fail again, and SDKs then leave it at that.")
    )  # fmt: skip
    yield from ("", "### " + words(N_("Said by FLM itself")), "")
    yield from _table(
        [*_TOLD, N_("Message")],
        [(*error_table.cells(error_table.of_api(e)), e.message or "-") for e in api],
        words,
    )
    yield from ("", "### " + words(N_("What engines say, and what becomes of it")), "")
    yield words(
        N_("What an engine says is kept where it helps, without addresses, paths and keys. What is "
           "the engine's own trouble is never told as the client's.")
    )  # fmt: skip
    yield ""
    yield from _table(
        [N_("What happened"), N_("Engine"), N_("It answers"), *_TOLD, N_("Message")],
        [_engines_error(shape, words) for shape in error_table.SHAPES],
        words,
    )


_TOLD = (
    N_("Status"), N_("Code"), N_("OpenAI: type"), N_("Anthropic: status, type"), "Retry-After",
    "x-should-retry",
)  # fmt: skip


def _engines_error(shape: error_table.Shape, words: Words) -> Sequence[str]:
    error = error_table.explained(shape)
    said = error_table.told(error)
    body = f" `{shape.body}`" if shape.body else ""
    message = said.message
    if said.anthropic_message != message:
        message += f" (Anthropic: {said.anthropic_message.removesuffix(message).strip()} …)"
    answer = f"{shape.status}{body}"
    return (words(shape.what), shape.engine, answer, *error_table.cells(said), message)


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]], words: Words) -> Iterator[str]:
    yield _row([words(heading) for heading in headings])
    yield "|" + "---|" * len(headings)
    yield from map(_row, rows)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command: 0 when every page is, or has been made, what it must be."""
    parser = argparse.ArgumentParser(prog="python -m flm.cli.docs", description=__doc__)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--write", action="store_true", help="write the pages")
    action.add_argument("--check", action="store_true", help="fail when one is stale")
    wanted = parser.parse_args(arguments)
    stale = 0
    for name, text in files().items():
        path = FOLDER / name
        if wanted.write:
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            stale += 1
            sys.stdout.write(f"docs/{name} is stale: run python -m flm.cli.docs --write\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
