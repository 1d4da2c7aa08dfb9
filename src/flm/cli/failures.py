"""Errors at the command line's edge: a sentence, what to do, an exit code; never a traceback.

Exit codes: 0 fine, 1 the user can mend it, 2 FLM failed, 130 interrupted (as shells expect).
"""

from __future__ import annotations

import traceback
from typing import NamedTuple

import click

from flm.cli import output, terminal
from flm.cli.session import Session
from flm.errors import N_, FlmError

FINE = 0
USER = 1
FAILED = 2
INTERRUPTED = 130


class Failure(NamedTuple):
    """An error as it is shown."""

    code: str
    message: str
    remedy: str
    exit_code: int


def of_error(session: Session, error: FlmError) -> Failure:
    """An error that FLM raised on purpose, in the reader's language."""
    message, remedy = session.words.error(error)
    return Failure(error.code, message, remedy, error.exit_code)


def of_usage(session: Session, error: click.ClickException) -> Failure:
    """A command that was written wrong: click's sentence, and where help is."""
    remedy = ""
    if isinstance(error, click.UsageError) and error.ctx is not None:
        remedy = session.words(N_("See `{command} --help`."), command=error.ctx.command_path)
    return Failure("usage", error.format_message(), remedy, USER)


def of_unexpected(session: Session, error: Exception) -> Failure:
    """Something nobody foresaw: one sentence, and where the details lie."""
    if session.debug:
        output.note("".join(traceback.format_exception(error)).rstrip())
    return Failure(
        "internal_error",
        session.words(
            N_("FLM failed and does not know why ({kind}: {text})."),
            kind=type(error).__name__,
            text=str(error).partition("\n")[0] or "-",
        ),
        session.words(
            N_("Run the command again with --debug to see where; the controller's own details "
               "are in controller.log in the data directory.")
        ),
        FAILED,
    )  # fmt: skip


def show(session: Session, failure: Failure) -> int:
    """Tell it on stderr, in the form that was asked for; the exit code."""
    if session.json:
        shown = {"code": failure.code, "message": failure.message, "remedy": failure.remedy}
        output.note(output.to_json({"error": shown}))
        return failure.exit_code
    text = session.words(N_("Error: {message}"), message=failure.message)
    if failure.remedy:
        text += f"\n{failure.remedy}"
    output.note(terminal.visible_lines(text))
    return failure.exit_code
