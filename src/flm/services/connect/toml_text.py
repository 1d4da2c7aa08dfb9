"""TOML, changed in place: comments, order and everything else stay. Pure."""

from __future__ import annotations

import tomllib
from collections.abc import MutableMapping
from typing import Any

from flm.services.connect.situation import Path
from flm.services.connect.tree import MISSING, Fault, got, in_the_way


def parse(text: str) -> Any:
    """The plain data. Raises `Fault`."""
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise Fault(str(error)) from error


def put(text: str, path: Path, value: Any) -> str:
    """`value` lies at `path`; a mapping becomes a table of its own, behind all others."""
    import tomlkit

    names = [str(step) for step in path]
    data = parse(text)
    if len(names) == 1 and names[0] not in data:
        return _below_the_last(text, _line(names[0], value))
    if isinstance(value, dict) and got(data, path) is MISSING:
        head = text if not text or text.endswith("\n") else f"{text}\n"
        blank = "\n" if head and not head.endswith("\n\n") else ""
        lines = "".join(_line(name, each) for name, each in value.items())
        longer = f"{head}{blank}[{'.'.join(names)}]\n{lines}"
        if _is_toml(longer):
            return longer
    document, here = _found(text, path)
    here[names[-1]] = value
    return tomlkit.dumps(document)


def take(text: str, path: Path) -> str:
    """Nothing lies at `path` any more; it did."""
    import tomlkit

    document, here = _found(text, path)
    del here[str(path[-1])]
    return tomlkit.dumps(document)


def _found(text: str, path: Path) -> tuple[Any, Any]:
    """The document and the table around `path`, made where there is none.

    tomlkit writes some documents otherwise than they were (tables out of their order): those are
    left alone.
    """
    import tomlkit

    document = tomlkit.parse(text)
    if tomlkit.dumps(document) != text:
        raise Fault("its tables are in an order that FLM cannot keep")
    here: Any = document
    for step in path[:-1]:
        name = str(step)
        if name not in here:
            here[name] = tomlkit.table(is_super_table=True)
        here = here[name]
        if not isinstance(here, MutableMapping):
            raise in_the_way(step)
    return document, here


def _line(name: str, value: Any) -> str:
    import tomlkit

    return f"{name} = {tomlkit.item(value).as_string()}\n"


def _is_toml(text: str) -> bool:
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return False
    return True


def _below_the_last(text: str, line: str) -> str:
    """`line` behind the last key of the root, above the comments that belong to what follows."""
    end = at = _root_end(text)
    while at:
        start = text.rfind("\n", 0, at - 1) + 1
        if text[start:at].strip() and not text[start:at].lstrip().startswith("#"):
            break
        at = start
    if not at and end == len(text):
        at = end
    elif not at:
        line = f"{line}\n"
    head = text[:at] if not at or text[at - 1] == "\n" else f"{text[:at]}\n"
    return head + line + text[at:]


def _root_end(text: str) -> int:
    """Where the first table begins: a line with a bracket, up to which it is whole by itself."""
    at = 0
    while at < len(text):
        following = text.find("\n", at) + 1 or len(text)
        if text[at:following].lstrip().startswith("[") and _is_toml(text[:at]):
            return at
        at = following
    return len(text)
