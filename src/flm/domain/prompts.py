"""The texts of prompt templates: what in them is a variable, and what is put there.

`{{name}}` is a variable, with blanks inside or not; all other braces are text. A text is taken
apart once, into *pieces*: text, name, text, name, …, text. What is put in the place of a name is
data: it is never looked at for variables again, whoever wrote it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime

INPUT = "input"
"""The client's own text, in the template's ``user``."""

DATE = "date"
"""The day of the request, UTC: `2026-12-31`."""

BUILT_IN = frozenset({INPUT, DATE})
"""What FLM itself puts in, with each request."""

Pieces = tuple[str, ...]
"""Text at even places, names of variables at odd ones; () is no text at all."""

_VARIABLE = re.compile(r"\{\{[ \t]*([A-Za-z_][A-Za-z0-9_]{0,63})[ \t]*\}\}")


def pieces(text: str) -> Pieces:
    """The text taken apart; () of an empty one."""
    return tuple(_VARIABLE.split(text)) if text else ()


def names(text: str) -> tuple[str, ...]:
    """The variables in it, each as often as it is there."""
    return pieces(text)[1::2]


def wanted(*texts: str) -> tuple[str, ...]:
    """The variables in these texts that somebody must give a value, each once."""
    return tuple(
        dict.fromkeys(name for text in texts for name in names(text) if name not in BUILT_IN)
    )


def filled(parts: Pieces, values: Mapping[str, str]) -> Pieces:
    """The pieces with the values of those variables that have one; the others stay."""
    if not parts:
        return ()
    done = [parts[0]]
    for name, text in zip(parts[1::2], parts[2::2], strict=True):
        if name in values:
            done[-1] += values[name] + text
        else:
            done += [name, text]
    return tuple(done)


def around(parts: Pieces) -> tuple[str, str]:
    """What comes before `{{input}}` and what behind it; all other variables are filled in."""
    return parts[0], "".join(parts[2:])


def day(now: float) -> str:
    """What `{{date}}` is at `now` (UTC seconds)."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d")
