"""How far something is that takes long: a bar on a terminal, a line for each tenth elsewhere."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

from flm.cli import output, terminal
from flm.cli.session import Session
from flm.domain.sizes import size_text
from flm.errors import N_
from flm.ports.engines import Progress, Step

Say = Callable[[str], None]


@contextlib.contextmanager
def progress(session: Session) -> Iterator[Progress]:
    """What to report steps to. All of it goes to stderr; programs (`--format json`) see nothing
    of it unless a person sits there too."""
    if output.is_terminal(sys.stderr):
        with _bar(session) as show:
            yield show
    elif session.json:
        yield lambda step: None
    else:
        yield Tenths(session, output.note)


class Tenths:
    """A line when a step begins, and one for each tenth of it that is done."""

    def __init__(self, session: Session, say: Say) -> None:
        self._words = session.words
        self._say = say
        self._told: tuple[str, int] = ("", -1)

    def __call__(self, step: Step) -> None:
        """Tell it, if there is something new to tell."""
        text = _text(self._words, step)
        tenth = min(step.done, step.total) * 10 // step.total if step.total else 0
        if (text, tenth) == self._told:
            return
        self._told = (text, tenth)
        if not step.total:
            self._say(text)
            return
        self._say(
            self._words(
                N_("{doing}: {percent} % ({done} of {total})"),
                doing=text,
                percent=tenth * 10,
                done=size_text(step.done),
                total=size_text(step.total),
            )
        )


@contextlib.contextmanager
def _bar(session: Session) -> Iterator[Progress]:
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
    from rich.progress import Progress as Bar

    bar = Bar(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=output.console(sys.stderr),
        transient=True,
    )
    with bar:
        task = bar.add_task("", total=None)
        shown = ""

        def show(step: Step) -> None:
            nonlocal shown
            text = _text(session.words, step)
            if text != shown:
                shown = text
                bar.reset(task, description=text)
            bar.update(task, completed=step.done, total=step.total or None)

        yield show


def _text(words: Callable[..., str], step: Step) -> str:
    """What is being done, safe for a terminal."""
    return words(step.doing, **{name: terminal.visible(of) for name, of in step.values.items()})
