"""YAML, changed in place: comments, order and everything else stay byte for byte. Pure.

What FLM sets lies at the root, or is an element of a list at the root. New lines are written in
JSON's quoting, which every reader of YAML takes alike.
"""

from __future__ import annotations

import json
import re
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import CollectionNode, MappingNode, Node, SequenceNode

from flm.services.connect.situation import Element, Path
from flm.services.connect.tree import Fault, in_the_way

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*")
_WORDS = frozenset(("true", "false", "yes", "no", "on", "off", "null", "y", "n"))


def parse(text: str) -> Any:
    """The plain data; {} for a text that holds nothing. Raises `Fault`."""
    try:
        data = YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        raise _fault(error) from error
    except (ValueError, RecursionError) as error:  # a date that is none, aliases without end
        raise Fault(str(error)) from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise Fault("it is no mapping", 1)
    return data


def put(text: str, path: Path, value: Any) -> str:
    """`value` lies at `path`: what was there is replaced, else it comes behind the last one."""
    root = _root(text)
    name = str(path[0])
    pair = _pair(root, name)
    if len(path) == 1:
        if pair is None:
            return _appended(text, root, name, value)
        return _replaced(text, *_span(pair), _inline(value))
    element = path[1]
    assert isinstance(element, Element) and len(path) == 2, "no client needs more"
    if pair is None:
        return _appended(text, root, name, [value])
    return _put_element(text, pair, element, value)


def take(text: str, path: Path) -> str:
    """Nothing lies at `path` any more; it did."""
    root = _root(text)
    pair = _pair(root, str(path[0]))
    assert pair is not None, "only what is there is taken"
    key, node = pair
    if len(path) == 1:
        assert root is not None
        if root.flow_style:
            raise _flow()
        return _without_lines(text, key.start_mark.index, _end(node))
    assert isinstance(node, SequenceNode) and isinstance(path[1], Element)
    item = _item(node, path[1])
    assert item is not None, "only what is there is taken"
    if node.flow_style:
        raise _flow()
    if len(node.value) == 1:
        colon = text.index(":", key.end_mark.index) + 1
        return f"{text[:colon]} []{text[_end(node) :]}"
    return _without_lines(text, text.rindex("-", 0, item.start_mark.index), _end(item))


def _root(text: str) -> MappingNode | None:
    try:
        root = YAML(typ="safe", pure=True).compose(text)
    except YAMLError as error:
        raise _fault(error) from error
    if root is not None and not isinstance(root, MappingNode):
        return None
    return root


def _fault(error: YAMLError) -> Fault:
    mark = getattr(error, "problem_mark", None)
    why = getattr(error, "problem", None) or str(error).partition("\n")[0]
    return Fault(str(why), mark.line + 1 if mark is not None else 0)


def _flow() -> Fault:
    return Fault("it is written between { } or [ ], from which FLM takes nothing")


def _pair(root: MappingNode | None, name: str) -> tuple[Node, Node] | None:
    pairs: list[tuple[Node, Node]] = root.value if root is not None else []
    return next((pair for pair in pairs if pair[0].value == name), None)


def _item(node: SequenceNode, element: Element) -> Node | None:
    for item in node.value:
        pair = _pair(item, element.field) if isinstance(item, MappingNode) else None
        if pair is not None and pair[1].value == element.value:
            return item  # type: ignore[no-any-return] # ruamel's nodes hold Any
    return None


def _end(node: Node) -> int:
    """Where its last character stands: a block's own mark is where the next thing begins."""
    if isinstance(node, CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(last[1] if isinstance(last, tuple) else last)
    end = int(node.end_mark.index)
    if _is_empty(node):
        lines = str(node.end_mark.buffer[:end]).rstrip().split("\n")
        while len(lines) > 1 and (not lines[-1].strip() or lines[-1].lstrip().startswith("#")):
            lines.pop()
        return len("\n".join(lines))
    if getattr(node, "style", None) in ("|", ">"):
        start = int(node.start_mark.index)
        return start + len(node.start_mark.buffer[start:end].rstrip("\n\0"))
    return end


def _is_empty(node: Node) -> bool:
    """Nothing behind a colon or a dash: its mark is where the next thing begins."""
    return bool(node.start_mark.index == node.end_mark.index)


def _span(pair: tuple[Node, Node]) -> tuple[int, int]:
    """Where the value of a pair stands."""
    key, node = pair
    if _is_empty(node):
        colon = str(key.end_mark.buffer).index(":", key.end_mark.index) + 1
        return colon, colon
    return int(node.start_mark.index), _end(node)


def _line_end(text: str, at: int) -> int:
    found = text.find("\n", at)
    return len(text) if found < 0 else found + 1


def _without_lines(text: str, start: int, end: int) -> str:
    return text[: text.rfind("\n", 0, start) + 1] + text[_line_end(text, end) :]


def _replaced(text: str, start: int, end: int, shown: str) -> str:
    blank = " " if start == end and text[start - 1 : start] not in (" ", "\t") else ""
    return text[:start] + blank + shown + text[end:]


def _appended(text: str, root: MappingNode | None, name: str, value: Any) -> str:
    """A new last pair of the root."""
    if root is not None and root.flow_style:
        end = int(root.end_mark.index) - 1
        comma = ", " if root.value else ""
        return f"{text[:end]}{comma}{json.dumps(name)}: {_inline(value)}{text[end:]}"
    indent = " " * (root.start_mark.column if root is not None else 0)
    lines = "".join(f"{indent}{line}\n" for line in _block(name, value))
    at = int(root.end_mark.index) if root is not None and root.value else len(text)
    head = text[:at] if not at or text[at - 1] == "\n" else f"{text[:at]}\n"
    return head + lines + text[at:]


def _put_element(text: str, pair: tuple[Node, Node], element: Element, value: Any) -> str:
    node = pair[1]
    if not isinstance(node, SequenceNode) and not str(node.tag).endswith(":null"):
        raise in_the_way(element)
    if not isinstance(node, SequenceNode) or not node.value:
        start, end = _span(pair)
        lines = _item_lines(value, "  ").rstrip("\n")
        return f"{text[:start].rstrip(' ')}\n{lines}{text[end:]}"
    item = _item(node, element)
    if node.flow_style and item is not None:
        return _replaced(text, int(item.start_mark.index), _end(item), _inline(value))
    if node.flow_style:
        end = _end(node.value[-1])
        return f"{text[:end]}, {_inline(value)}{text[end:]}"
    if item is not None:
        dash = text.rindex("-", 0, item.start_mark.index)
        start = text.rfind("\n", 0, dash) + 1
        lines = _item_lines(value, " " * (dash - start))
        return text[:start] + lines + text[_line_end(text, _end(item)) :]
    at = _line_end(text, _end(node))
    head = text[:at] if text[at - 1] == "\n" else f"{text[:at]}\n"
    return head + _item_lines(value, " " * node.start_mark.column) + text[at:]


def _item_lines(value: Any, indent: str) -> str:
    lines = [line for name, each in value.items() for line in _block(name, each)]
    return "".join(f"{indent}{'- ' if at == 0 else '  '}{line}\n" for at, line in enumerate(lines))


def _block(name: str, value: Any) -> list[str]:
    """The lines of a pair."""
    if isinstance(value, dict) and value:
        return [f"{name}:", *(f"  {line}" for key in value for line in _block(key, value[key]))]
    if isinstance(value, list) and value and all(isinstance(each, dict) for each in value):
        items = "".join(_item_lines(each, "  ") for each in value)
        return [f"{name}:", *items.rstrip("\n").split("\n")]
    return [f"{name}: {_inline(value)}"]


def _inline(value: Any) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    if isinstance(value, list):
        return f"[{', '.join(map(_inline, value))}]"
    return json.dumps(value, ensure_ascii=False)
