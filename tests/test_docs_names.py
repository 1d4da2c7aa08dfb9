"""What the documents name is there: files, `make` targets, `flm` commands."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from flm.cli.root import flm

ROOT = Path(__file__).resolve().parent.parent

DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]

LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)")
CODE = re.compile(r"```[^\n]*\n.*?```|`[^`\n]+`", re.DOTALL)
MAKE = re.compile(r"\bmake ([a-z]+)\b")
NOT_YET = re.compile(
    r"^## (?:What is not there yet|まだないもの)\n.*?(?=^## |\Z)", re.DOTALL | re.MULTILINE
)
COMMAND = re.compile(r"(?:^|[`\s/])flm((?: [a-z][a-z/-]*)+)")


def code(document: Path) -> Iterator[str]:
    """The code of a document, fenced and inline, without comments and what is not there yet."""
    for found in CODE.findall(NOT_YET.sub("", document.read_text("utf-8"))):
        yield re.sub(r"(^|\s)#.*", "", found, flags=re.MULTILINE)


def named_commands(document: Path) -> Iterator[tuple[str, ...]]:
    """The words after `flm`; `flm engines detect/list` names two commands."""
    for text in code(document):
        for words in COMMAND.findall(text):
            first, *rest = words.split()
            for alternative in rest[0].split("/") if rest else [""]:
                yield (first, alternative) if alternative else (first,)


def missing(words: tuple[str, ...]) -> bool:
    """Whether `flm` has no such command; words after a command that is no group are arguments."""
    context = click.Context(flm)
    command = flm.get_command(context, words[0])
    if isinstance(command, click.Group) and len(words) > 1:
        command = command.get_command(context, words[1])
    return command is None


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(document: Path) -> None:
    """A reader who follows a link finds a file of this repository."""
    links = LINK.findall(document.read_text("utf-8"))
    assert [link for link in links if not (document.parent / link).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_make_target_that_is_named_exists(document: Path) -> None:
    """`make X` in a document is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = {target for text in code(document) for target in MAKE.findall(text)}
    assert named - targets == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_that_is_named_exists(document: Path) -> None:
    """`flm X` in a document is a command of `flm`."""
    assert [words for words in named_commands(document) if missing(words)] == []


def test_what_is_to_be_run_can_be_run() -> None:
    """The scripts have a shebang and the executable bit."""
    scripts = [ROOT / ".ci" / "run", ROOT / "scripts" / "environment"]
    assert [path for path in scripts if not os.access(path, os.X_OK)] == []
