"""What goes to stdout and stderr: text for people, one JSON document for programs.

Always UTF-8, whatever the terminal's code page: names of models and answers of engines are.
"""

from __future__ import annotations

import io
import json
import os
import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TextIO

from flm.cli import terminal

if TYPE_CHECKING:
    from rich.console import Console

VERSION = "1.0"
_CONTROL = re.compile("[\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

_SHORT = 24
"""Names of so many cells are not broken where other columns of a table can be."""

_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")


def speak_utf8() -> None:
    """Make stdout and stderr UTF-8; what cannot be encoded is shown as an escape."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a person is at this stream; None (`flm … >&-`) and a closed one have nobody."""
    return stream is not None and not stream.closed and stream.isatty()


def discard_output() -> None:
    """The reader has gone: let what is still buffered go nowhere instead of failing at exit."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    streams: tuple[TextIO | None, ...] = (sys.stdout, sys.stderr)
    for stream in filter(None, streams):
        try:
            stream.flush()
        except OSError:
            os.dup2(devnull, stream.fileno())
    os.close(devnull)


def to_json(document: Any) -> str:
    """One line of JSON; characters that a terminal obeys are escaped."""
    text = json.dumps(document, ensure_ascii=False)
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def document(data: Any) -> str:
    """`data` as a program is given it."""
    return to_json({"version": VERSION, "data": data})


def write(text: str = "", *, end: str = "\n") -> None:
    """A line (or several, or a piece of one) on stdout, at once."""
    print(text, end=end, flush=True)


def note(text: str) -> None:
    """A line on stderr: what is neither the answer nor an error."""
    print(text, file=sys.stderr, flush=True)


def can_ask() -> bool:
    """Whether a person would see a question and could answer it."""
    return is_terminal(sys.stdin) and is_terminal(sys.stderr)


def ask(question: str) -> str:
    """A line that a person types; raises `KeyboardInterrupt` at the end of input (Ctrl-D).

    Read plainly: readline swallows a Ctrl-C that comes while it sets itself up.
    """
    print(f"{question} ", end="", file=sys.stderr, flush=True)
    line = sys.stdin.readline()
    if not line:
        raise KeyboardInterrupt
    return line.strip()


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on stdout: with rich on a terminal, aligned columns elsewhere."""
    safe = [[terminal.visible(cell) for cell in row] for row in rows]
    if is_terminal(sys.stdout):
        _rich_table(headings, safe)
    else:
        write("\n".join(terminal.columns([headings, *safe])))


def csv(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table on stdout for programs that read RFC 4180, None as an empty field.

    Such a program is often a spreadsheet: text that it would take for a formula is led by `'`.
    """
    import csv as rfc4180

    text = io.StringIO()
    lines = rfc4180.writer(text, lineterminator="\r\n")
    lines.writerow(headings)
    lines.writerows([_field(value) for value in row] for row in rows)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(newline="")  # else Windows ends each line once more
    write(text.getvalue(), end="")


def _field(value: object) -> object:
    if not isinstance(value, str):
        return value
    safe = terminal.visible(value)
    return f"'{safe}" if safe.startswith(_FORMULA) else safe


def facts(rows: Sequence[tuple[str, str]]) -> None:
    """Names and values under each other on stdout."""
    write("\n".join(terminal.columns((name, terminal.visible(value)) for name, value in rows)))


def _rich_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    screen = console(sys.stdout)
    headings, rows = terminal.fitted(headings, rows, screen.width)
    drawn = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    for number, heading in enumerate(headings):
        names = not number and all(terminal.cells(row[0]) <= _SHORT for row in rows)
        drawn.add_column(Text(heading), overflow="fold", no_wrap=names)
    for row in rows:
        drawn.add_row(*(Text(cell) for cell in row))
    screen.print(drawn)


def console(stream: TextIO) -> Console:
    """rich on a terminal, with texts left as they are."""
    from rich.console import Console

    return Console(file=stream, highlight=False, markup=False, emoji=False)
