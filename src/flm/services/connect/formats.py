"""The formats of clients' files, and the rule for changing one.

Whatever a format's code does to a text is checked against what it was to do: the changed text must
parse to exactly the old data with FLM's entries in it, or nothing is written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from flm.services.connect import jsonc, toml_text, yaml_text
from flm.services.connect.situation import Entry, FormatName, Path
from flm.services.connect.tree import MISSING, Fault, got, with_value, without


class Format(NamedTuple):
    """How one format is read and changed in place; each raises `Fault`.

    ``take`` is only asked for what is there.
    """

    title: str
    parse: Callable[[str], Any]
    put: Callable[[str, Path, Any], str]
    take: Callable[[str, Path], str]


FORMATS: Mapping[FormatName, Format] = MappingProxyType({
    "json": Format("JSON", jsonc.parse, jsonc.put, jsonc.take),
    "toml": Format("TOML", toml_text.parse, toml_text.put, toml_text.take),
    "yaml": Format("YAML", yaml_text.parse, yaml_text.put, yaml_text.take),
})  # fmt: skip

_RISKY = "its form is one that FLM cannot change without touching other things in it"


def applied(name: FormatName, text: str, entries: Sequence[Entry]) -> str:
    """`text` with the entries in it; the same text when they are there already. Raises `Fault`."""
    form = FORMATS[name]
    data = form.parse(text)
    for path, value, only_new in entries:
        now = got(data, path)
        if now != value and not (only_new and now is not MISSING):
            data = with_value(data, path, value)
            text = _checked(form, form.put(text, path, value), data)
    return text


class Reverted(NamedTuple):
    """A text without FLM's entries, and the paths of those that somebody changed since."""

    text: str
    kept: tuple[Path, ...]


def reverted(name: FormatName, text: str, before: str, entries: Sequence[Entry]) -> Reverted:
    """`text` with what it says of the entries as it was `before`, everything else as it is now.

    An entry that is another now than FLM wrote is somebody's, and stays. Raises `Fault`.
    """
    form = FORMATS[name]
    old, data = form.parse(before), form.parse(text)
    kept: list[Path] = []
    for path, value, _ in reversed(entries):
        now, then = got(data, path), got(old, path)
        if now is MISSING or now == then:
            continue
        if now != value:
            kept.append(path)
        elif then is MISSING:
            text, data = _taken(form, text, data, path)
            text, data = _emptied(form, text, data, old, path)
        else:
            data = with_value(data, path, then)
            text = _checked(form, form.put(text, path, then), data)
    return Reverted(text, tuple(reversed(kept)))


def _taken(form: Format, text: str, data: Any, path: Path) -> tuple[str, Any]:
    """Without what lies at `path`. In TOML the tables around it, which nobody wrote, go too."""
    text, data = form.take(text, path), without(data, path)
    for length in range(len(path) - 1, 0, -1):
        if got(data, path[:length]) or got(form.parse(text), path[:length]) is not MISSING:
            break
        data = without(data, path[:length])
    return _checked(form, text, data), data


def _emptied(form: Format, text: str, data: Any, old: Any, path: Path) -> tuple[str, Any]:
    """Without the mappings and lists around `path` that FLM made and that are empty now."""
    for length in range(len(path) - 1, 0, -1):
        around = path[:length]
        here = got(data, around)
        if here is MISSING or here:
            break
        then = got(old, around)
        if then is MISSING:
            text, data = _taken(form, text, data, around)
        elif then is None:
            data = with_value(data, around, None)
            text = _checked(form, form.put(text, around, None), data)
    return text, data


def _checked(form: Format, text: str, expected: Any) -> str:
    try:
        found = form.parse(text)
    except Fault as error:
        raise Fault(_RISKY) from error
    if found != expected:
        raise Fault(_RISKY)
    return text
