"""Which tools a model may or must use, in the words of chat completions."""

from __future__ import annotations

import msgspec

from flm.dialects.fields import shown
from flm.dialects.toolbox import Toolbox
from flm.errors import Refusal

_MODES = ("auto", "none", "required")
_NAMED = ("function", "custom")


class Choice(msgspec.Struct):
    """What a client wrote: a tool, or with ``allowed_tools`` several and a ``mode``."""

    type: str
    name: str | None = None
    namespace: str | None = None
    mode: str = "auto"
    tools: list[Choice] | None = None


def choose(choice: str | Choice, tools: Toolbox) -> object:
    """`tool_choice` for an engine; `tools` is cut down to those that are allowed.

    Raises `Refusal` 400: `unsupported_parameter` when a tool must be called that nobody runs,
    `invalid_value` for what is no choice.
    """
    if isinstance(choice, str):
        if choice not in _MODES:
            raise _wrong(f"expected one of {', '.join(_MODES)} or an object")
        return _mode(choice, tools)
    if choice.type in _NAMED and choice.name:
        return {"type": "function", "function": {"name": _named(choice, tools)}}
    if choice.type == "allowed_tools":
        return _allowed(choice, tools)
    raise _unsupported(choice.type)


def _mode(mode: str, tools: Toolbox) -> str:
    if mode == "required" and not tools.functions:
        raise Refusal(
            400,
            "unsupported_parameter",
            "No tool of this request can be run by a model here, so none can be required.",
            param="tool_choice",
        )
    return mode


def _named(choice: Choice, tools: Toolbox) -> str:
    """The function of a chosen tool; one in a namespace may be named without it."""
    name = tools.name(choice.name or "", choice.namespace)
    if name not in tools.functions:
        source = tools.source(name)
        name = tools.name(source.name, source.namespace)
    if name not in tools.functions:
        raise _wrong(f"there is no tool '{shown(choice.name or '')}'")
    return name


def _allowed(choice: Choice, tools: Toolbox) -> str:
    if choice.mode not in ("auto", "required"):
        raise _wrong("the mode of allowed_tools is 'auto' or 'required'")
    names = {_named(one, tools) for one in choice.tools or () if one.type in _NAMED and one.name}
    tools.only(names)
    return _mode(choice.mode, tools)


def _wrong(why: str) -> Refusal:
    return Refusal(
        400, "invalid_value", f"Invalid value for 'tool_choice': {why}.", param="tool_choice"
    )


def _unsupported(kind: str) -> Refusal:
    return Refusal(
        400,
        "unsupported_parameter",
        f"No engine here runs '{shown(kind)}', so it cannot be made to be called.",
        param="tool_choice",
    )
