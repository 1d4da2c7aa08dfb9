"""JSON with comments and trailing commas, changed in place: all else stays byte for byte. Pure."""

from __future__ import annotations

import json
from typing import Any

from flm.services.connect.jsonc_reading import Node, blanks, read
from flm.services.connect.situation import Path, Step
from flm.services.connect.tree import Fault, in_the_way

_UNIT = "  "


def parse(text: str) -> Any:
    """The plain data; {} for a text that holds nothing. Raises `Fault`."""
    root = read(text)
    data = {} if root is None else root.value()
    if not isinstance(data, dict):
        raise Fault("it is no object", 1)
    return data


def put(text: str, path: Path, value: Any) -> str:
    """`value` lies at `path`: what was there is replaced, else it comes behind the last one."""
    root = read(text)
    names = [_name(step) for step in path]
    if root is None:
        head = text if not text or text.endswith("\n") else f"{text}\n"
        return f"{head}{_rendered(_nested(names, value), '', _UNIT)}\n"
    node = root
    for at, name in enumerate(names):
        if node.kind != "object":
            raise in_the_way(names[at - 1] if at else name)
        number = node.find(name)
        if number is None:
            return _inserted(text, node, name, _nested(names[at + 1 :], value))
        node = node.members[number].node
        if node.kind == "scalar" and node.scalar is None and at + 1 < len(names):
            value, names = _nested(names[at + 1 :], value), names[: at + 1]
            break
    shown = _rendered(value, _indent(text, node.start), _unit(text, root))
    return text[: node.start] + shown + text[node.end :]


def take(text: str, path: Path) -> str:
    """Nothing lies at `path` any more; it did."""
    node = read(text)
    for step in path[:-1]:
        number = node.find(_name(step)) if node is not None else None
        assert node is not None and number is not None, "only what is there is taken"
        node = node.members[number].node
    assert node is not None
    number = node.find(_name(path[-1]))
    assert number is not None, "only what is there is taken"
    return _removed(text, node, number)


def _name(step: Step) -> str:
    assert isinstance(step, str), "no client has lists of FLM's in JSON"
    return step


def _nested(names: list[str], value: Any) -> Any:
    for name in reversed(names):
        value = {name: value}
    return value


def _rendered(value: Any, indent: str, unit: str | None) -> str:
    if unit is None:
        return json.dumps(value, ensure_ascii=False)
    lines = json.dumps(value, ensure_ascii=False, indent=unit).split("\n")
    return f"\n{indent}".join(lines)


def _indent(text: str, at: int) -> str:
    """The blanks that the line of `at` begins with."""
    line = text[text.rfind("\n", 0, at) + 1 :]
    return line[: len(line) - len(line.lstrip(" \t"))]


def _unit(text: str, root: Node) -> str:
    """What the members of the root are indented by."""
    first = root.members[0].start if root.members else 0
    own = _indent(text, first) if "\n" in text[root.start : first] else ""
    base = _indent(text, root.start)
    return own.removeprefix(base) or _UNIT


def _inserted(text: str, node: Node, name: str, value: Any) -> str:
    root = read(text)
    assert root is not None
    unit = _unit(text, root)
    if not node.members:
        return _first(text, node, name, value, unit)
    first, last = node.members[0], node.members[-1]
    body = f"{json.dumps(name, ensure_ascii=False)}: "
    if "\n" not in text[node.start : first.start]:
        body += _rendered(value, "", None)
        if last.comma is not None:
            return f"{text[: last.comma + 1]} {body},{text[last.comma + 1 :]}"
        return f"{text[: last.node.end]}, {body}{text[last.node.end :]}"
    indent = _indent(text, first.start)
    body += _rendered(value, indent, unit)
    if last.comma is not None:
        end = _line_tail(text, last.comma + 1)
        return f"{text[:end]}\n{indent}{body},{text[end:]}"
    end = _line_tail(text, last.node.end)
    return f"{text[: last.node.end]},{text[last.node.end : end]}\n{indent}{body}{text[end:]}"


def _first(text: str, node: Node, name: str, value: Any, unit: str) -> str:
    """The first member of an object that holds none, but may hold comments."""
    base = _indent(text, node.start)
    body = f"{json.dumps(name, ensure_ascii=False)}: {_rendered(value, base + unit, unit)}"
    inside = text[node.start + 1 : node.end - 1]
    kept = inside.rstrip()
    tail = inside[len(kept) :] if kept and "\n" in inside[len(kept) :] else f"\n{base}"
    new = f"{kept}\n{base}{unit}{body}{tail}"
    return text[: node.start + 1] + new + text[node.end - 1 :]


def _line_tail(text: str, at: int) -> int:
    """The end of the comments behind `at` on its line; `at` when more than that follows there."""
    end = at
    for reached, piece in blanks(text, at):
        if piece == "\n":
            return end
        if "\n" in piece:
            return at
        end = reached
    return at


def _removed(text: str, node: Node, number: int) -> str:
    member = node.members[number]
    if member.comma is not None:
        return _without_line(text, member.start, member.comma + 1)
    if number == 0:
        inside = text[node.start + 1 : member.start] + text[member.node.end : node.end - 1]
        if not inside.strip():
            return text[: node.start + 1] + text[node.end - 1 :]
        return _without_line(text, member.start, member.node.end)
    comma = node.members[number - 1].comma
    assert comma is not None, "a comma stands before what is not the first"
    if not text[comma + 1 : member.start].strip():
        return text[:comma] + text[member.node.end :]
    return _without_line(text[:comma] + text[comma + 1 :], member.start - 1, member.node.end - 1)


def _without_line(text: str, start: int, end: int) -> str:
    """Without that span; and without its lines where nothing else stands on them."""
    line = text.rfind("\n", 0, start) + 1
    following = text.find("\n", end)
    alone = not text[line:start].strip() and following >= 0 and not text[end:following].strip()
    if alone:
        return text[:line] + text[following + 1 :]
    while text[end : end + 1] in (" ", "\t"):
        end += 1
    return text[:start] + text[end:]
