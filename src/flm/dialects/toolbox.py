"""Tools of OpenAI's APIs as functions, the one kind that engines know, and whose call is whose.

A `custom` tool takes free text: it becomes a function with one string. What only OpenAI's servers
can run is dropped and named.
"""

from __future__ import annotations

import re
import zlib
from typing import Literal, NamedTuple

import msgspec

from flm.dialects.body import UNREADABLE
from flm.errors import Refusal

Kind = Literal["function", "custom", "tool_search"]

MAX_NAME = 64
INPUT = "input"
"""The one argument of a custom tool's function."""

_UNFIT = re.compile(r"[^A-Za-z0-9_-]")
_encode = msgspec.json.Encoder().encode


class Source(NamedTuple):
    """The tool a function stands for."""

    kind: Kind
    name: str
    namespace: str | None = None


class Toolbox:
    """The functions an engine is given, and whose they are.

    ``functions`` in the form of chat completions, by name; ``dropped``: tools nobody runs.
    """

    def __init__(self) -> None:
        self.functions: dict[str, bytes] = {}
        self.dropped: list[str] = []
        self._sources: dict[str, Source] = {}
        self._names: dict[tuple[str | None, str], str] = {}
        self._children: dict[str, list[str]] = {}

    def place(self, source: Source) -> str:
        """The name of the function that stands for that tool: its own in ``functions``."""
        place = (source.namespace, source.name)
        name = self._names.get(place) or self._free(wanted(*place))
        self._names[place] = name
        self._sources[name] = source
        if source.namespace is not None:
            self._children.setdefault(source.name, []).append(name)
        return name

    def keep(self, name: str, function: bytes) -> None:
        """A function that goes on as it came. To be told before any tool gets a name here."""
        self._names[None, name] = name
        self._sources[name] = Source("function", name)
        self.functions[name] = function

    def _free(self, name: str) -> str:
        """`name`, or one like it that no other tool has."""
        number, free = 1, name
        while free in self._sources:
            number += 1
            free = f"{name[: MAX_NAME - 4]}_{number}"
        return free

    def name(self, name: str, namespace: str | None = None) -> str:
        """The function's name of a tool, also of one that is not here any more."""
        return self._names.get((namespace, name)) or wanted(namespace, name)

    def source(self, function: str) -> Source:
        """Whose call it is. Models shorten names to what they know: one that is nobody's, but
        the end of a single one, is that one's.
        """
        known = self._sources.get(function)
        if known is None:
            children = self._children.get(function, ())
            known = self._sources[children[0]] if len(children) == 1 else None
        return known or Source("function", function)

    def only(self, names: set[str]) -> None:
        """Leave no functions but these."""
        self.functions = {name: said for name, said in self.functions.items() if name in names}


def wanted(namespace: str | None, name: str) -> str:
    """What a function of that tool would be called, if nothing else were: at most 64 characters
    that every engine takes.
    """
    if namespace is not None:
        name = f"{namespace}{'' if namespace.endswith('__') else '__'}{name}"
    fit = _UNFIT.sub("_", name)
    if len(fit) > MAX_NAME:
        fit = f"{fit[: MAX_NAME - 9]}_{zlib.crc32(name.encode('utf-8', 'replace')):08x}"
    return fit


def missing(name: str) -> Refusal:
    """What is said where something must be; `name` tells the place."""
    return Refusal(
        400, "missing_required_parameter", f"Missing required parameter: '{name}'.", param=name
    )


def function_of_text(
    name: str, description: str | None, syntax: str = "", definition: str = ""
) -> bytes:
    """The function of a custom tool. A grammar is told to the model: engines hold nobody to it."""
    said = description or ""
    if definition:
        said += f"\n\nThe input must match this {syntax} grammar:\n{definition}"
    what = {"type": "string", "description": "The whole input of the tool, as plain text."}
    function: dict[str, object] = {
        "name": name,
        "parameters": {
            "type": "object",
            "properties": {INPUT: what},
            "required": [INPUT],
            "additionalProperties": False,
        },
    }
    if said:
        function["description"] = said.strip()
    return _encode({"type": "function", "function": function})


def custom_arguments(text: str) -> str:
    """The arguments of a custom tool's function for that text."""
    return _encode({INPUT: text}).decode()


def custom_input(arguments: str) -> str:
    """The text a model wrote for a custom tool, out of its function's arguments.

    Models that were trained on such tools write the text itself, or name the argument their own
    way: then the whole, or the one text there is.
    """
    try:
        given = msgspec.json.decode(arguments)
    except UNREADABLE:
        return arguments
    if isinstance(given, str):
        return given
    if isinstance(given, dict):
        if isinstance(given.get(INPUT), str):
            return str(given[INPUT])
        values = list(given.values())
        if len(values) == 1 and isinstance(values[0], str):
            return values[0]
    return arguments
