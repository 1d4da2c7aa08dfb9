"""`flm engines start` and `stop`: done by what runs, followed here."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator

import click

from flm.cli import documents, output, terminal
from flm.cli.commands import command, pass_session
from flm.cli.session import Session
from flm.errors import N_
from flm.services.operations import OperationService
from flm.wire.control import Operation


@command(
    "start",
    help=N_(
        "Start an engine that is installed here, for this machine only.\n\n"
        "What comes after -- is given to the engine and, when it starts well, remembered for its "
        "next start:\n\n"
        "\b\n"
        "flm engines start vllm -- Qwen/Qwen3-8B --max-model-len 8192\n"
        "flm engines start llamacpp -- -m ~/models/qwen3.gguf -c 8192\n"
        "flm engines start ollama -- OLLAMA_NUM_PARALLEL=4\n\n"
        "A second engine of a kind gets a name of its own that begins with the kind, such as "
        "vllm-small. It runs until it is stopped or FLM is."
    ),
)
@click.argument("name")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@pass_session
def start(session: Session, name: str, arguments: tuple[str, ...]) -> None:
    """Start an engine and wait until it serves."""
    with session.services() as services:
        operations = services.operations
        last = _follow(session, operations, operations.start_engine(name, arguments))
        used = last.arguments == arguments  # it may have been there already, or with others
        if arguments and used:
            services.settings.set(f"engines.{name}.arguments", json.dumps(arguments))
        if session.json:
            known = services.detection.known().engines
            session.document(
                {
                    "started": name,
                    "arguments": last.arguments,
                    "engine": next(
                        (documents.engine(each) for each in known if each.id == name), None
                    ),
                }
            )
        else:
            session.say(last.doing, **last.values)
            if arguments and not used:
                session.note(
                    N_("What stands after -- was not used and is not remembered: {engine} was "
                       "started before. It takes others when it is stopped and started again."),
                    engine=name,
                )  # fmt: skip


@command("stop", help=N_("Stop an engine that FLM started, when its requests have ended."))
@click.argument("name")
@pass_session
def stop(session: Session, name: str) -> None:
    """Stop an engine and wait until it is gone."""
    with session.services() as services:
        operations = services.operations
        last = _follow(session, operations, operations.stop_engine(name))
    session.answer({"stopped": name}, last.doing, **last.values)


def _follow(session: Session, operations: OperationService, begun: Operation) -> Operation:
    """Show what is done while it is done; how it was last. Raises what it failed with."""
    last = begun
    with _showing(session) as show:
        for last in operations.follow(begun):
            show(last)
    return last


Show = Callable[[Operation], None]


@contextlib.contextmanager
def _showing(session: Session) -> Iterator[Show]:
    """What to report turns to: a line that changes on a terminal, lines elsewhere, all of it on
    stderr. An engine that failed has its own last lines shown; programs see none of it."""
    if session.json:
        yield lambda turn: None
    elif output.is_terminal(sys.stderr):
        with _status(session) as show:
            yield show
    else:
        yield _lines(session)


def _lines(session: Session) -> Show:
    told = ""

    def show(turn: Operation) -> None:
        nonlocal told
        text = _doing(session, turn)
        if text and text != told and not turn.over:
            output.note(text)
        told = text
        _last_words(turn)

    return show


@contextlib.contextmanager
def _status(session: Session) -> Iterator[Show]:
    from rich.text import Text

    with output.console(sys.stderr).status("") as status:

        def show(turn: Operation) -> None:
            words = terminal.visible(turn.lines[-1]) if turn.lines else ""
            line = Text(_doing(session, turn), no_wrap=True, overflow="ellipsis")
            status.update(line.append(f"  {words}", style="dim"))
            if turn.over:
                status.stop()
                _last_words(turn)

        yield show


def _doing(session: Session, turn: Operation) -> str:
    values = {name: terminal.visible(value) for name, value in turn.values.items()}
    return session.words(turn.doing, **values) if turn.doing else ""


def _last_words(turn: Operation) -> None:
    if turn.failure is not None:
        for line in turn.lines:
            output.note(f"  {terminal.visible(line)}")
