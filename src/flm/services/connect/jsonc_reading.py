"""JSON with comments and trailing commas, read with the place of everything in the text. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from flm.services.connect.tree import Fault

DEEPEST = 100
_BLANK = re.compile(r"(?:[ \t\r\n]+|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"')
_SCALAR = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null")


@dataclass
class Node:
    """A value and its span. ``members`` of an object; ``items`` of an array."""

    kind: Literal["object", "array", "scalar"]
    start: int
    end: int = 0
    scalar: Any = None
    members: list[Member] = field(default_factory=list)
    items: list[Node] = field(default_factory=list)

    def value(self) -> Any:
        """The plain value; of names that come twice the last counts."""
        if self.kind == "object":
            return {member.name: member.node.value() for member in self.members}
        return [item.value() for item in self.items] if self.kind == "array" else self.scalar

    def find(self, name: str) -> int | None:
        """The number of the member that counts under that name."""
        found = [at for at, member in enumerate(self.members) if member.name == name]
        return found[-1] if found else None


@dataclass
class Member:
    """A name with its value. ``comma``: where the comma behind it stands, None without one."""

    name: str
    start: int
    node: Node
    comma: int | None = None


def read(text: str) -> Node | None:
    """The root; None when the text holds nothing but blanks and comments. Raises `Fault`."""
    reader = _Reader(text)
    reader.skip()
    if reader.at == len(text):
        return None
    root = reader.node(0)
    reader.skip()
    if reader.at != len(text):
        raise reader.fault("something follows the end")
    return root


def blank_end(text: str, at: int) -> int:
    """Where the blanks and comments that begin at `at` end."""
    found = _BLANK.match(text, at)
    return found.end() if found else at


def blanks(text: str, at: int) -> Iterator[tuple[int, str]]:
    """The pieces of blanks and comments from `at` on, each with its end."""
    piece = re.compile(r"[ \t\r]+|\n|//[^\n]*|/\*.*?\*/", re.DOTALL)
    while found := piece.match(text, at):
        at = found.end()
        yield at, found[0]


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self.at = 0

    def fault(self, why: str) -> Fault:
        return Fault(why, self._text.count("\n", 0, self.at) + 1)

    def skip(self) -> None:
        self.at = blank_end(self._text, self.at)

    def node(self, depth: int) -> Node:
        if depth > DEEPEST:
            raise self.fault(f"it is nested more than {DEEPEST} deep")
        opening = self._text[self.at : self.at + 1]
        if opening == "{":
            return self._object(depth)
        if opening == "[":
            return self._array(depth)
        start = self.at
        if opening == '"':
            return Node("scalar", start, scalar=self._string(), end=self.at)
        found = _SCALAR.match(self._text, self.at)
        if found is None:
            raise self.fault("a value is expected here")
        self.at = found.end()
        return Node("scalar", start, self.at, json.loads(found[0]))

    def _string(self) -> str:
        found = _STRING.match(self._text, self.at)
        if found is None:
            raise self.fault('a text between " and " is expected here')
        try:
            value: str = json.loads(found[0])
        except ValueError as error:
            raise self.fault(str(error)) from error
        self.at = found.end()
        return value

    def _object(self, depth: int) -> Node:
        node = Node("object", self.at)
        self.at += 1
        while not self._closed("}", node):
            start = self.at
            name = self._string()
            self.skip()
            self._expect(":")
            self.skip()
            member = Member(name, start, self.node(depth + 1))
            node.members.append(member)
            member.comma = self._comma("}")
        return node

    def _array(self, depth: int) -> Node:
        node = Node("array", self.at)
        self.at += 1
        while not self._closed("]", node):
            node.items.append(self.node(depth + 1))
            self._comma("]")
        return node

    def _closed(self, closing: str, node: Node) -> bool:
        self.skip()
        if self._text[self.at : self.at + 1] != closing:
            return False
        self.at += 1
        node.end = self.at
        return True

    def _comma(self, closing: str) -> int | None:
        """Where the comma stands that must follow unless it ends here."""
        self.skip()
        if self._text[self.at : self.at + 1] == closing:
            return None
        self._expect(",")
        return self.at - 1

    def _expect(self, sign: str) -> None:
        if self._text[self.at : self.at + 1] != sign:
            raise self.fault(f"{sign} is expected here")
        self.at += 1
