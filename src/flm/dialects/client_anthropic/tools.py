"""Tools of a Messages request as functions.

Those with a schema are functions as they are. Those of Anthropic's own types that the client runs
itself (`bash_*`, `text_editor_*`, `memory_*`, `computer_*`) have no schema, because Claude knows
them by heart: they become functions with the schema of Anthropic's documents. Those that
Anthropic hosts (`web_search_*`, `web_fetch_*`, `code_execution_*`, `tool_search_tool_*`,
`mcp_toolset` …) and toolsets, whose calls cannot be told apart without Anthropic's servers, are
dropped and named: no tool type refuses a request.
"""

from __future__ import annotations

from typing import Any

import msgspec

from flm.dialects.body import first_byte
from flm.dialects.client_anthropic.content import required
from flm.dialects.client_anthropic.form import Tool, ToolChoice
from flm.dialects.client_anthropic.notes import Notes
from flm.errors import Refusal

Raw = msgspec.Raw

_TEXT = {"type": "string"}
_NUMBER = {"type": "integer"}
_POINT = {"type": "array", "items": _NUMBER, "minItems": 2, "maxItems": 2}


class Function(msgspec.Struct, omit_defaults=True, gc=False):
    """A function as OpenAI spells it."""

    name: str
    parameters: Raw | dict[str, Any]
    description: str | None = None
    strict: bool | None = None


class ChatTool(msgspec.Struct, gc=False):
    """A tool as OpenAI spells it."""

    function: Function
    type: str = "function"


def functions(given: list[Tool], notes: Notes) -> list[ChatTool]:
    """The tools an engine can be given. Raises `Refusal` 400 for one without name or schema."""
    found: list[ChatTool] = []
    for index, tool in enumerate(given):
        if first_byte(tool.cache_control) == b"{":
            notes.drop("cache_control")
        function = _function(tool, f"tools[{index}]", notes)
        if function is not None:
            found.append(ChatTool(function))
    return found


def _function(tool: Tool, where: str, notes: Notes) -> Function | None:
    kind = tool.type or "custom"
    if kind == "custom" or first_byte(tool.input_schema) == b"{":
        name = required(tool.name, f"{where}.name")
        if first_byte(tool.input_schema) != b"{":
            raise Refusal(
                400,
                "missing_required_parameter",
                f"Missing required parameter: '{where}.input_schema'.",
                param=f"{where}.input_schema",
            )
        return Function(name, tool.input_schema, tool.description, tool.strict)
    notes.plain = False  # engines would take it for a function without parameters
    family, _, version = kind.rpartition("_")
    if tool.name is None or family not in _WITHOUT_SCHEMA:
        notes.drop(f"tools.{kind}")
        return None
    description, parameters = _WITHOUT_SCHEMA[family](tool, version)
    return Function(tool.name, parameters, tool.description or description)


def choice(
    given: ToolChoice | None, offered: list[ChatTool], notes: Notes
) -> tuple[str | dict[str, Any] | None, bool | None]:
    """`tool_choice` and `parallel_tool_calls` in OpenAI's words; None where nothing is to be said.

    Raises `Refusal` 400 `unsupported_parameter` when a tool must be called that is not there.
    """
    if given is None:
        return None, None
    parallel = False if given.disable_parallel_tool_use and offered else None
    # llama.cpp takes a named tool for any, and knows neither none nor the other switch (read in
    # its server-chat.cpp).
    notes.plain = notes.plain and parallel is None and given.type in ("auto", "any")
    names = {tool.function.name for tool in offered}
    if given.type == "tool":
        name = required(given.name, "tool_choice.name")
        if name not in names:
            raise _no_such_tool(f"the tool '{name[:100]}' is")
        return {"type": "function", "function": {"name": name}}, parallel
    if given.type == "any" and not names:
        raise _no_such_tool("no tool is")
    words = {"auto": "auto", "any": "required", "none": "none"}
    return (words[given.type] if names else None), parallel


def _no_such_tool(what: str) -> Refusal:
    return Refusal(
        400,
        "unsupported_parameter",
        f"The answer must call a tool, but {what} among those that an engine can be given.",
        param="tool_choice",
    )


def _object(required_ones: list[str], properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required_ones}


def _commands(*names: str) -> dict[str, Any]:
    return {"type": "string", "enum": list(names)}


def _bash(tool: Tool, version: str) -> tuple[str, dict[str, Any]]:
    del tool, version
    properties = {
        "command": {**_TEXT, "description": "The command to run."},
        "restart": {"type": "boolean", "description": "true starts the shell anew instead."},
    }
    return "Runs a command in a shell that stays open between calls.", _object([], properties)


def _editor(tool: Tool, version: str) -> tuple[str, dict[str, Any]]:
    del tool
    old = version < "20250429"
    commands = ["view", "create", "str_replace", "insert", *(["undo_edit"] if old else [])]
    inserted = "new_str" if old else "insert_text"
    properties: dict[str, Any] = {
        "command": _commands(*commands),
        "path": {**_TEXT, "description": "The file or folder."},
        "view_range": {**_POINT, "description": "view: first and last line; -1 is the end."},
        "file_text": {**_TEXT, "description": "create: what the file shall hold."},
        "old_str": {**_TEXT, "description": "str_replace: the text to replace, exactly."},
        "new_str": {**_TEXT, "description": "str_replace: the text in its place."},
        "insert_line": {**_NUMBER, "description": "insert: the line to insert after, 0 the start."},
    }
    properties[inserted] = {**_TEXT, "description": "The new text (insert, str_replace)."}
    if not old:
        properties[inserted]["description"] = "insert: the text to insert."
    return "Views, creates and edits text files.", _object(["command", "path"], properties)


def _memory(tool: Tool, version: str) -> tuple[str, dict[str, Any]]:
    del tool, version
    properties = {
        "command": _commands("view", "create", "str_replace", "insert", "delete", "rename"),
        "path": {**_TEXT, "description": "A path below /memories."},
        "view_range": _POINT,
        "file_text": _TEXT,
        "old_str": _TEXT,
        "new_str": _TEXT,
        "insert_line": _NUMBER,
        "insert_text": _TEXT,
        "old_path": {**_TEXT, "description": "rename: the path it has."},
        "new_path": {**_TEXT, "description": "rename: the path it gets."},
    }
    return (
        "Reads and writes files below /memories, which stay between conversations.",
        _object(["command"], properties),
    )


_ACTIONS = ("screenshot", "left_click", "type", "key", "mouse_move", "left_click_drag",
            "right_click", "middle_click", "double_click", "cursor_position")  # fmt: skip
_MORE_ACTIONS = ("scroll", "left_mouse_down", "left_mouse_up", "hold_key", "wait", "triple_click")


def _computer(tool: Tool, version: str) -> tuple[str, dict[str, Any]]:
    actions = [*_ACTIONS]
    properties: dict[str, Any] = {
        "coordinate": {**_POINT, "description": "x and y in pixels."},
        "text": {**_TEXT, "description": "What to type, or the key."},
    }
    if version >= "20250124":
        actions += _MORE_ACTIONS
        properties |= {
            "start_coordinate": _POINT,
            "scroll_direction": _commands("up", "down", "left", "right"),
            "scroll_amount": _NUMBER,
            "duration": {"type": "number", "description": "Seconds."},
        }
    if version >= "20251124":
        actions.append("zoom")
        properties["region"] = {"type": "array", "items": _NUMBER, "minItems": 4, "maxItems": 4}
    properties = {"action": _commands(*actions), **properties}
    size = f"{tool.display_width_px or '?'}x{tool.display_height_px or '?'}"
    return f"Uses a screen of {size} pixels, mouse and keyboard.", _object(["action"], properties)


_WITHOUT_SCHEMA = {
    "bash": _bash,
    "text_editor": _editor,
    "memory": _memory,
    "computer": _computer,
}
