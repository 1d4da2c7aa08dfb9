"""The tables of `README.md`, made from the adapters' traits: `python -m flm.engines.table`.

A test compares them with the file, so that what is told of an engine is what the code knows.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from flm.engines.registry import adapters
from flm.ports.engines import EngineAdapter

README = Path(__file__).with_name("README.md")

Cell = Callable[[EngineAdapter], str]


def _several(items: Iterable[str]) -> str:
    return ", ".join(items) or "–"


def _starting(adapter: EngineAdapter) -> str:
    if adapter.kind == "embedded":
        return "yes"
    return "yes" if adapter.starter is not None else "no"


TABLES: Mapping[str, Mapping[str, Cell]] = MappingProxyType(
    {
        "apis": {
            "kind": lambda adapter: adapter.kind,
            "dialect": lambda adapter: adapter.dialect,
            "speaks natively": lambda adapter: _several(adapter.traits.native),
            "perhaps": lambda adapter: _several(adapter.traits.perhaps),
            "translated": lambda adapter: _several(adapter.traits.translated),
            "lets others": lambda adapter: _several(adapter.traits.keeping),
            "started by FLM": _starting,
        },
        "parameters": {
            "kind": lambda adapter: adapter.kind,
            "knows by another name": lambda adapter: _several(
                f"{ours} → {theirs}" for ours, theirs in adapter.traits.renamed
            ),
            "ignores": lambda adapter: _several(adapter.traits.ignored),
            "rejects": lambda adapter: _several(adapter.traits.rejected),
            "reasoning in": lambda adapter: adapter.traits.reasoning,
        },
        "trouble": {
            "kind": lambda adapter: adapter.kind,
            "when it is full": lambda adapter: adapter.traits.overload,
            "a prompt beyond its context": lambda adapter: adapter.traits.overflow,
            "an error in mid-stream": lambda adapter: adapter.traits.broken_stream,
        },
    }
)
"""Each table by its name in the file: its columns, and what stands in them."""


def table(name: str) -> str:
    """One table as Markdown, a row for each kind in the registry's order."""
    columns = TABLES[name]
    rows = ([cell(adapter) for cell in columns.values()] for adapter in adapters())
    lines = ["| " + " | ".join(row) + " |" for row in (list(columns), *rows)]
    return "\n".join([lines[0], "|---" * len(columns) + "|", *lines[1:]])


def rendered(text: str) -> str:
    """`text` with every table between its marks as it must be."""
    for name in TABLES:
        begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(end)
        text = f"{before}{begin}\n{table(name)}\n{end}{after}"
    return text


def main() -> int:
    """Write the tables into the file; 1 when something changed."""
    before = README.read_text(encoding="utf-8")
    after = rendered(before)
    README.write_text(after, encoding="utf-8")
    return int(before != after)


if __name__ == "__main__":
    sys.exit(main())
