"""Where a command line begins and ends: language and format first, an exit code last."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath

import click

from flm.cli import failures, output
from flm.cli.session import Session
from flm.errors import FlmError
from flm.language import choose, load

NAMES = ("flm", "flm-gateway")


def run(argv: Sequence[str], environ: Mapping[str, str], program: str | None = None) -> int:
    """Run one command line; its exit code. Nothing is raised but what kills the process."""
    output.speak_utf8()
    session = _begin(argv, environ)
    try:
        return _run(session, argv, environ, program or _program())
    except BrokenPipeError:
        output.discard_output()
        return failures.FINE
    except KeyboardInterrupt:
        output.note("")
        return failures.INTERRUPTED


def _run(session: Session, argv: Sequence[str], environ: Mapping[str, str], program: str) -> int:
    from flm.cli.root import flm

    try:
        session.speak(choose(session.asked_language, environ, _platform_language()))
        # not click's own `main`, which would decide on exit codes, pipes and Ctrl-C for us
        with flm.make_context(program, list(argv), obj=session) as context:
            flm.invoke(context)
        return failures.FINE
    except click.exceptions.Exit as leaving:
        return leaving.exit_code
    except FlmError as error:
        return failures.show(session, failures.of_error(session, error))
    except click.Abort as error:
        raise KeyboardInterrupt from error
    except click.ClickException as error:
        return failures.show(session, failures.of_usage(session, error))
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001 - the edge: a person gets a sentence, no traceback
        return failures.show(session, failures.of_unexpected(session, error))


def _begin(argv: Sequence[str], environ: Mapping[str, str]) -> Session:
    """A session that already knows how an error in the rest of the line is to be told."""
    session = Session(environ, load("en"))
    for name, value in _early(argv):
        if name == "--lang":
            session.asked_language = value
        elif name == "--format" and value == "json":
            session.form = "json"
        elif name == "--debug":
            session.debug = True
    return session


def _early(argv: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The options that every command has, read before the line is understood."""
    for position, word in enumerate(argv):
        if word == "--":
            return
        name, equals, value = word.partition("=")
        if name in ("--lang", "--format", "--debug"):
            following = argv[position + 1] if position + 1 < len(argv) else ""
            yield name, value if equals else following


def _program() -> str:
    """The name FLM was called by: `flm-gateway` where another `flm` is in the way."""
    name = PurePath(sys.argv[0]).stem
    return name if name in NAMES else NAMES[0]


def _platform_language() -> str:
    """What Windows calls the user's locale; elsewhere the environment says it."""
    tag: str | None = ""
    if sys.platform == "win32":
        import locale

        tag = locale.getlocale(locale.LC_CTYPE)[0]
    return tag or ""
