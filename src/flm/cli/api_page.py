"""The parts of `docs/api.md` that the program knows best, between marks in a text by hand.

`<!-- NAME -->` begins such a part and `<!-- /NAME -->` ends it, in each language's page.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial

from flm.cli import parameter_table
from flm.engines.registry import adapters
from flm.errors import N_
from flm.language import Words

_PART = re.compile(r"<!-- (?P<name>[a-z ]+) -->\n(?P<old>.*?)<!-- /(?P=name) -->", re.DOTALL)

Part = Callable[[Words], Iterator[str]]


def filled(text: str, words: Words) -> str:
    """`text` with every part as it must be. Raises `KeyError` for a part nobody knows."""

    def part(found: re.Match[str]) -> str:
        name = found["name"]
        made = "\n".join(_PARTS[name](words))
        return f"<!-- {name} -->\n{made}\n<!-- /{name} -->"

    return _PART.sub(part, text)


def parts(text: str) -> list[str]:
    """The names of the parts in a text."""
    return [found["name"] for found in _PART.finditer(text)]


def _apis(words: Words) -> Iterator[str]:
    yield _row([words(N_("Kind")), words(N_("Passed on")), words(N_("Translated")),
                words(N_("Asked, where it may be able"))])  # fmt: skip
    yield "|---|---|---|---|"
    for adapter in adapters():
        traits = adapter.traits
        cells = (_listed(each) for each in (traits.native, traits.translated, traits.perhaps))
        yield _row([f"`{adapter.kind}`", *cells])


def _listed(names: Iterable[str]) -> str:
    """Without `responses`, which FLM always makes from chats, though some engines have them."""
    return ", ".join(f"`{name}`" for name in names if name != "responses") or "-"


def _parameters(table: parameter_table.Table, words: Words) -> Iterator[str]:
    columns = [words(heading) for heading, _ in table.columns]
    yield _row([parameter_table.HEADINGS[table.dialect], *columns])
    yield "|" + "---|" * (1 + len(columns))
    for row in parameter_table.rows(table, words):
        yield _row(row)


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


_PARTS: Mapping[str, Part] = {
    "apis": _apis,
    **{
        f"parameters {table.dialect}": partial(_parameters, table)
        for table in parameter_table.TABLES
    },
}
