"""Tools of the Responses API as functions.

A `custom` tool becomes a function with one string. A `namespace` holds tools: each becomes a
function whose name begins with the namespace's, and a call tells both apart again (Codex routes
by them). `tool_search`, where the client executes it, is a function too. What only OpenAI's
servers can run is dropped and named.
"""

from __future__ import annotations

import msgspec

from flm.dialects.fields import shown, wrong_value
from flm.dialects.toolbox import Source, Toolbox, function_of_text, missing

Raw = msgspec.Raw
NO_RAW = Raw()

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


_decode = msgspec.json.Decoder(list[Tool]).decode


def take_tools(raw: Raw, where: str, into: Toolbox) -> None:
    """Take in the tools of the list `raw`. Raises `Refusal` 400 for what is none."""
    try:
        tools = _decode(raw)
    except msgspec.ValidationError as error:
        raise wrong_value(error, where) from error
    for index, tool in enumerate(tools):
        _take(tool, f"{where}[{index}]", None, into)


def _take(tool: Tool, where: str, namespace: str | None, into: Toolbox) -> None:
    if tool.type in ("function", "custom"):
        if not tool.name:
            raise missing(f"{where}.name")
        source = Source("custom" if tool.type == "custom" else "function", tool.name, namespace)
        _put(source, tool, into)
    elif tool.type == "namespace" and namespace is None and tool.name:
        for index, inner in enumerate(tool.tools or ()):
            _take(inner, f"{where}.tools[{index}]", tool.name, into)
    elif tool.type == "tool_search" and tool.execution == "client":
        _put(Source("tool_search", tool.name or "tool_search"), tool, into)
    else:
        into.dropped.append(f"tools.{shown(tool.type)}")


def _put(source: Source, tool: Tool, into: Toolbox) -> None:
    name = into.place(source)
    if source.kind == "custom":
        form = tool.format or Format()
        said = function_of_text(name, tool.description, form.syntax, form.definition)
    else:
        said = _function(name, source, tool)
    into.functions[name] = said


def _function(name: str, source: Source, tool: Tool) -> bytes:
    parameters = tool.parameters if bytes(tool.parameters) not in (b"", b"null") else None
    said: dict[str, object] = {
        "name": name,
        "parameters": parameters or (_SEARCH if source.kind == "tool_search" else _NO_PARAMETERS),
    }
    if tool.description:
        said["description"] = tool.description.strip()
    if tool.strict is not None and source.kind == "function":
        said["strict"] = tool.strict
    return _encode({"type": "function", "function": said})
