"""Tools of the Responses API as functions, and calls of those functions as what they were.

Engines know functions only. A `custom` tool takes free text: it becomes a function with one
string. A `namespace` holds tools: each becomes a function whose name begins with the namespace's,
and a call tells both apart again (Codex routes by them). `tool_search`, where the client executes
it, is a function too. What only OpenAI's servers can run is dropped and named.
"""

from __future__ import annotations

import re
import zlib
from typing import Literal, NamedTuple

import msgspec

from flm.dialects.body import UNREADABLE
from flm.dialects.fields import shown, wrong_value
from flm.errors import Refusal

Raw = msgspec.Raw
NO_RAW = Raw()
Kind = Literal["function", "custom", "tool_search"]

MAX_NAME = 64
INPUT = "input"
"""The one argument of a custom tool's function."""

_UNFIT = re.compile(r"[^A-Za-z0-9_-]")
_encode = msgspec.json.Encoder().encode
_NO_PARAMETERS = Raw(b'{"type":"object","properties":{}}')
_SEARCH = Raw(
    b'{"type":"object","properties":{"query":{"type":"string","description":'
    b'"What the tool should do."},"limit":{"type":"integer"}},"required":["query"]}'
)


class Format(msgspec.Struct):
    """What a custom tool's input must look like."""

    type: str = "text"
    syntax: str = ""
    definition: str = ""


class Tool(msgspec.Struct):
    """A tool as clients write it; ``tools`` of a namespace."""

    type: str
    name: str | None = None
    description: str | None = None
    parameters: Raw = NO_RAW
    strict: bool | None = None
    format: Format | None = None
    tools: list[Tool] | None = None
    execution: str | None = None


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

    def add(self, raw: Raw, where: str) -> None:
        """Take in the tools of the list `raw`. Raises `Refusal` 400 for what is none."""
        try:
            tools = _decode(raw)
        except msgspec.ValidationError as error:
            raise wrong_value(error, where) from error
        for index, tool in enumerate(tools):
            self._add(tool, f"{where}[{index}]", None)

    def _add(self, tool: Tool, where: str, namespace: str | None) -> None:
        if tool.type in ("function", "custom"):
            if not tool.name:
                raise Refusal(
                    400,
                    "missing_required_parameter",
                    f"Missing required parameter: '{where}.name'.",
                    param=f"{where}.name",
                )
            source = Source("custom" if tool.type == "custom" else "function", tool.name, namespace)
            self._put(source, tool)
        elif tool.type == "namespace" and namespace is None and tool.name:
            for index, inner in enumerate(tool.tools or ()):
                self._add(inner, f"{where}.tools[{index}]", tool.name)
        elif tool.type == "tool_search" and tool.execution == "client":
            self._put(Source("tool_search", tool.name or "tool_search"), tool)
        else:
            self.dropped.append(f"tools.{shown(tool.type)}")

    def _put(self, source: Source, tool: Tool) -> None:
        place = (source.namespace, source.name)
        name = self._names.get(place) or self._free(wanted(*place))
        self._names[place] = name
        self._sources[name] = source
        if source.namespace is not None:
            self._children.setdefault(source.name, []).append(name)
        self.functions[name] = _function(name, source.kind, tool)

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


def _function(name: str, kind: Kind, tool: Tool) -> bytes:
    said: dict[str, object] = {"name": name}
    description = tool.description or ""
    parameters = tool.parameters if bytes(tool.parameters) not in (b"", b"null") else None
    if kind == "custom":
        form = tool.format or Format()
        if form.definition:
            description += f"\n\nThe input must match this {form.syntax} grammar:\n"
            description += form.definition
        what = {"type": "string", "description": "The whole input of the tool, as plain text."}
        said["parameters"] = {
            "type": "object",
            "properties": {INPUT: what},
            "required": [INPUT],
            "additionalProperties": False,
        }
    else:
        said["parameters"] = parameters or (_SEARCH if kind == "tool_search" else _NO_PARAMETERS)
    if description:
        said["description"] = description.strip()
    if tool.strict is not None and kind == "function":
        said["strict"] = tool.strict
    return _encode({"type": "function", "function": said})


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


_decode = msgspec.json.Decoder(list[Tool]).decode
