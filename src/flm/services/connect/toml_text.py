"""TOML, changed in place: comments, order and everything else stay. Pure."""

from __future__ import annotations

import tomllib
from collections.abc import MutableMapping
from typing import Any

from flm.services.connect.situation import Path
from flm.services.connect.tree import Fault, in_the_way


def parse(text: str) -> Any:
    """The plain data. Raises `Fault`."""
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise Fault(str(error)) from error


def put(text: str, path: Path, value: Any) -> str:
    """`value` lies at `path`; a mapping becomes a table of its own."""
    import tomlkit

    document = tomlkit.parse(text)
    here: Any = document
    for step in path[:-1]:
        name = str(step)
        if name not in here:
            here[name] = tomlkit.table(is_super_table=True)
        here = here[name]
        if not isinstance(here, MutableMapping):
            raise in_the_way(step)
    here[str(path[-1])] = value
    return tomlkit.dumps(document)


def take(text: str, path: Path) -> str:
    """Nothing lies at `path` any more; it did."""
    import tomlkit

    document = tomlkit.parse(text)
    here: Any = document
    for step in path[:-1]:
        here = here[str(step)]
    del here[str(path[-1])]
    return tomlkit.dumps(document)
