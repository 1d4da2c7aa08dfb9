"""A chat whose tools are not all functions as one where they are."""

from __future__ import annotations

import msgspec

from flm.dialects.body import UNREADABLE
from flm.dialects.fields import shown, wrong_value
from flm.dialects.openai_chat import NO_RAW, ChatRequest
from flm.dialects.openai_chat import Tool as FunctionTool
from flm.dialects.tool_choice import Choice, choose
from flm.dialects.toolbox import Source, Toolbox, custom_arguments, function_of_text, missing

Raw = msgspec.Raw
_FUNCTION = (None, "function")
_OF_TOOLS = ("tools", "tool_choice", "parallel_tool_calls")
"""What makes no sense to an engine without a tool."""


class _Named(msgspec.Struct):
    name: str | None = None


class _Grammar(msgspec.Struct):
    syntax: str = ""
    definition: str = ""


class _Format(msgspec.Struct):
    grammar: _Grammar | None = None


class _Custom(msgspec.Struct):
    name: str | None = None
    description: str | None = None
    format: _Format | None = None


class _Tool(msgspec.Struct):
    type: str | None = None
    function: _Named | None = None
    custom: _Custom | None = None


class _One(msgspec.Struct):
    """A tool as a choice names it."""

    type: str = "function"
    function: _Named | None = None
    custom: _Named | None = None

    @property
    def choice(self) -> Choice:
        """The same in fewer words."""
        named = self.custom if self.type == "custom" else self.function
        return Choice(self.type, None if named is None else named.name)


class _Allowed(msgspec.Struct):
    mode: str = "auto"
    tools: list[_One] = []


class _Choice(_One):
    allowed_tools: _Allowed | None = None

    @property
    def choice(self) -> Choice:
        """The same in fewer words."""
        if self.type != "allowed_tools":
            return super().choice
        allowed = self.allowed_tools or _Allowed()
        return Choice(self.type, mode=allowed.mode, tools=[one.choice for one in allowed.tools])


class _Said(msgspec.Struct):
    name: str
    input: str


class _Call(msgspec.Struct):
    type: str | None = None
    id: str | None = None
    custom: _Said | None = None


_encode = msgspec.json.Encoder().encode
_decode_list = msgspec.json.Decoder(list[Raw]).decode
_decode_object = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_tool = msgspec.json.Decoder(_Tool).decode
_decode_choice = msgspec.json.Decoder(_Choice).decode
_decode_type = msgspec.json.Decoder(str).decode
_decode_call = msgspec.json.Decoder(_Call).decode


def is_foreign(chat: ChatRequest) -> bool:
    """Whether any tool, the choice of one, or a call in what was said before is no function's."""
    params = chat.params
    for tool in params.tools or ():
        if tool.type not in _FUNCTION:
            return True
    choice = params.tool_choice
    if isinstance(choice, dict) and _type_of(choice) not in _FUNCTION:
        return True
    for message in params.messages:
        if message.tool_calls is not NO_RAW and _has_custom(message.tool_calls):
            return True
    return False


def _has_custom(calls: Raw) -> bool:
    """Whether any may be a custom tool's: a string in quotes is never a part of one."""
    return bytes(calls).find(b'"custom"') >= 0


def _type_of(choice: dict[str, Raw]) -> str | None:
    try:
        return _decode_type(choice.get("type", b""))
    except UNREADABLE:
        return None


def as_functions(chat: ChatRequest) -> tuple[ChatRequest, Toolbox]:
    """`chat` with functions in the place of its tools; and whose they are.

    Tools that nobody runs are named in ``dropped``. Usage is asked for. Raises `Refusal` 400:
    `missing_required_parameter` and `invalid_value` for tools and calls that are none,
    `unsupported_parameter` when a tool must be called that nobody runs.
    """
    tools, fields = Toolbox(), dict(chat.fields)
    if chat.params.tools:
        _take(_decode_list(fields["tools"]), tools)
    choice = _chosen(chat, tools)
    if tools.functions:
        fields["tools"] = Raw(_encode([Raw(each) for each in tools.functions.values()]))
        if choice is not None:
            fields["tool_choice"] = Raw(_encode(choice))
    else:
        for name in _OF_TOOLS:
            fields.pop(name, None)
    fields["messages"] = _messages(chat, tools)
    params = msgspec.structs.replace(
        chat.params,
        tools=[FunctionTool("function") for _ in tools.functions] or None,
        tool_choice=_judged(choice) if tools.functions else None,
    )
    made = msgspec.structs.replace(
        chat,
        fields=fields,
        params=params,
        tools=bool(tools.functions),
        include_usage=chat.stream,
        dropped=tuple(dict.fromkeys((*chat.dropped, *tools.dropped))),
    )
    return made, tools


def _take(raws: list[Raw], into: Toolbox) -> None:
    given = [_read(raw, index) for index, raw in enumerate(raws)]
    names: list[str] = []
    for index, (raw, tool) in enumerate(zip(raws, given, strict=True)):
        if tool.type in _FUNCTION:
            if tool.function is None or not tool.function.name:
                raise missing(f"tools[{index}].function.name")
            into.keep(tool.function.name, bytes(raw))
    for index, tool in enumerate(given):
        if tool.type in _FUNCTION:
            assert tool.function is not None, "it has a name"
            names.append(tool.function.name or "")
        elif tool.type == "custom":
            names.append(_custom(tool.custom, f"tools[{index}].custom", into))
        else:
            into.dropped.append(f"tools.{shown(tool.type or '')}")
    into.functions = {name: into.functions[name] for name in names}  # as the client put them


def _read(raw: Raw, index: int) -> _Tool:
    try:
        return _decode_tool(raw)
    except msgspec.ValidationError as error:
        raise wrong_value(error, f"tools[{index}]") from error


def _custom(tool: _Custom | None, where: str, into: Toolbox) -> str:
    if tool is None or not tool.name:
        raise missing(where if tool is None else f"{where}.name")
    grammar = None if tool.format is None else tool.format.grammar
    form = grammar or _Grammar()
    name = into.place(Source("custom", tool.name))
    into.functions[name] = function_of_text(name, tool.description, form.syntax, form.definition)
    return name


def _chosen(chat: ChatRequest, tools: Toolbox) -> object | None:
    choice = chat.params.tool_choice
    if choice is None or isinstance(choice, str):
        return None if choice is None else choose(choice, tools)
    try:
        read = _decode_choice(chat.fields["tool_choice"])
    except msgspec.ValidationError as error:
        raise wrong_value(error, "tool_choice") from error
    return choose(read.choice, tools)


def _judged(choice: object | None) -> str | dict[str, Raw] | None:
    """A choice as `ChatParams` has it."""
    return _decode_object(_encode(choice)) if isinstance(choice, dict) else choice  # type: ignore[return-value] # a mode


def _messages(chat: ChatRequest, tools: Toolbox) -> Raw:
    """What was said so far, with the calls of custom tools as those of their functions."""
    raw = chat.fields["messages"]
    if not any(_has_custom(each.tool_calls) for each in chat.params.messages):
        return raw
    messages = _decode_list(raw)
    for index, judged in enumerate(chat.params.messages):
        if _has_custom(judged.tool_calls):
            message = _decode_object(messages[index])
            message["tool_calls"] = _calls(judged.tool_calls, f"messages[{index}]", tools)
            messages[index] = Raw(_encode(message))
    return Raw(_encode(messages))


def _calls(raw: Raw, where: str, tools: Toolbox) -> Raw:
    where = f"{where}.tool_calls"
    try:
        calls = _decode_list(raw)
    except msgspec.ValidationError as error:
        raise wrong_value(error, where) from error
    for index, each in enumerate(calls):
        try:
            call = _decode_call(each)
        except msgspec.ValidationError as error:
            raise wrong_value(error, f"{where}[{index}]") from error
        if call.type == "custom":
            if call.custom is None:
                raise missing(f"{where}[{index}].custom")
            function = {
                "name": tools.name(call.custom.name),
                "arguments": custom_arguments(call.custom.input),
            }
            said: dict[str, object] = {"type": "function", "function": function}
            calls[index] = Raw(_encode(said if call.id is None else {"id": call.id, **said}))
    return Raw(_encode(calls))
