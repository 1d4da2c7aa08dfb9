"""What a terminal shows: how wide a text is, where it may be wrapped, what must not reach it.

Japanese characters take two cells and are written without spaces, so `len` and `textwrap` do
not do. Names of models, labels and engines' own words come from elsewhere and may hold escape
sequences that would move the cursor or rename the window.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # C0, DEL and C1: cursor, colours, titles
    "\u200e\u200f\u202a-\u202e\u2066-\u2069"  # direction marks: text that reads as another
    "\u2028\u2029\ud800-\udfff]"
)
_NO_START = "、。，．・：；？！）」』】〉》］｝ーぁぃぅぇぉっゃゅょァィゥェォッャュョ…‥々)]},.:;?!%"
_NO_END = "（「『【〈《［｛([{"


def visible(text: str) -> str:
    r"""`text` on one line, with everything a terminal would obey shown as `\x1b`, `\u202e` …"""
    return _UNSAFE.sub(_escaped, text)


def visible_lines(text: str) -> str:
    """The same, but line feeds and tabs stay."""
    return _UNSAFE.sub(lambda found: found[0] if found[0] in "\n\t" else _escaped(found), text)


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape", "surrogatepass").decode("ascii")


def cells(text: str) -> int:
    """How many columns `text` takes; ambiguous characters count as one, as terminals do."""
    if text.isascii():
        return len(text)
    return sum(_cells_of(character) for character in text)


def _cells_of(character: str) -> int:
    if unicodedata.combining(character) or character in "\u200b\u200d\ufe0e\ufe0f":
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def pad(text: str, width: int) -> str:
    """`text` filled with spaces to `width` columns."""
    return text + " " * (width - cells(text))


def wrap(text: str, width: int) -> list[str]:
    """`text` in lines of at most `width` columns, broken at spaces and between wide characters.

    A piece longer than a line (a URL, a command) stays whole. Japanese punctuation does not
    begin a line, nor does an opening bracket end one.
    """
    lines: list[str] = []
    line = ""
    for piece in _pieces(" ".join(text.split())):
        candidate = line + piece
        if line and cells(candidate.rstrip()) > width:
            lines.append(line.rstrip())
            line = piece.lstrip()
        else:
            line = candidate
    if line:
        lines.append(line.rstrip())
    return lines or [""]


def _pieces(text: str) -> Iterator[str]:
    """`text` cut at every place where a line may end."""
    start = 0
    for position in range(1, len(text)):
        before, after = text[position - 1], text[position]
        if after == " " or after in _NO_START or before in _NO_END:
            continue
        if before == " " or _cells_of(before) == 2 or _cells_of(after) == 2:
            yield text[start:position]
            start = position
    if text[start:]:
        yield text[start:]


GAP = 2
"""Cells between two columns of a table."""

_NOTHING = frozenset({"", "-", "0"})


def fitted(
    headings: Sequence[str], rows: Sequence[Sequence[str]], width: int
) -> tuple[list[str], list[Sequence[str]]]:
    """A table for a terminal of `width` cells: where it is too wide, columns that hold nothing but
    dashes and zeros are left out. The first one stays."""
    widths = [max(map(cells, column)) for column in zip(headings, *rows, strict=True)]
    if sum(widths) + GAP * (len(widths) - 1) <= width:
        return list(headings), list(rows)
    kept = [
        number
        for number in range(len(headings))
        if number == 0 or not _NOTHING.issuperset(row[number] for row in rows)
    ]
    return [headings[number] for number in kept], [[row[n] for n in kept] for row in rows]


def columns(rows: Iterable[Iterable[str]], gap: str = "  ") -> list[str]:
    """Rows as aligned lines, for pipes and for people without colours."""
    table = [list(row) for row in rows]
    widths = [max(map(cells, column)) for column in zip(*table, strict=True)]
    return [
        gap.join(pad(cell, width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]
