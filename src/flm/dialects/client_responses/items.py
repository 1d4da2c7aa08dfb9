"""Items of the Responses API as the messages of a chat.

What one answer was cut into (thoughts, text, calls) becomes one message again. System and
developer messages are joined, in their order, into the one that comes first: the templates of
many models know no other place for them, and answer with an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from flm.dialects.body import UNREADABLE, first_byte
from flm.dialects.client_responses.parts import Content, Part, content_of, text_of
from flm.dialects.client_responses.tools import NO_RAW, take_tools
from flm.dialects.fields import shown, wrong_value
from flm.dialects.toolbox import Toolbox, custom_arguments
from flm.errors import Refusal

Raw = msgspec.Raw
_encode = msgspec.json.Encoder().encode
_decode_text = msgspec.json.Decoder(str).decode
_decode_parts = msgspec.json.Decoder(list[Part]).decode
_ABSENT = (b"", b"null")

HOSTED = frozenset(
    {
        "web_search_call", "file_search_call", "code_interpreter_call", "image_generation_call",
        "computer_call", "computer_call_output", "mcp_list_tools", "mcp_approval_request",
        "mcp_approval_response", "program", "program_output", "ghost_snapshot",
        "configuration_update",
    }
)  # fmt: skip
"""What OpenAI's own tools left behind, and Codex's notes to itself: dropped and named."""

_CALLS = {
    "local_shell_call": ("local_shell", "action"),
    "shell_call": ("shell", "action"),
    "apply_patch_call": ("apply_patch", "operation"),
}
_OUTPUTS = frozenset(
    {
        "function_call_output", "custom_tool_call_output", "local_shell_call_output",
        "shell_call_output", "apply_patch_call_output",
    }
)  # fmt: skip


class Item(msgspec.Struct):
    """An item of any kind; fields that the kind does not have are absent."""

    type: str | None = None
    id: str | None = None
    role: str = ""
    content: str | list[Part] | None = None
    summary: list[Part] | None = None
    name: str = ""
    namespace: str | None = None
    call_id: str | None = None
    arguments: Raw = NO_RAW
    input: str = ""
    output: Raw = NO_RAW
    action: Raw = NO_RAW
    operation: Raw = NO_RAW
    tools: Raw = NO_RAW
    encrypted_content: str | None = None

    @property
    def kind(self) -> str:
        """Its type; where none is given, what it can only be."""
        return self.type or ("message" if self.role else "item_reference")


decode_item = msgspec.json.Decoder(Item).decode


def read_item(raw: Raw, where: str) -> Item:
    """`raw` as an item. Raises `Refusal` 400 naming the field at fault."""
    try:
        return decode_item(raw)
    except msgspec.ValidationError as error:
        raise wrong_value(error, where) from error


class Chat:
    """Messages made of items, in the order in which they are given.

    ``dropped``: kinds of items that were left out; ``remote``: URLs of images may stay.
    """

    def __init__(self, tools: Toolbox, remote: bool = False) -> None:
        self._tools = tools
        self._remote = remote
        self._system: list[str] = []
        self._messages: list[dict[str, Any]] = []
        self._turn: dict[str, Any] | None = None
        self._kinds: dict[str, Callable[[Item, str], None]] = {
            "message": self._message,
            "reasoning": self._reasoning,
            "function_call": self._function_call,
            "custom_tool_call": self._custom_call,
            "tool_search_call": self._search_call,
            "tool_search_output": self._search_output,
            "additional_tools": self._more_tools,
            "mcp_call": self._mcp_call,
        }
        self.dropped: list[str] = []

    def instruct(self, text: str) -> None:
        """What the request itself tells the model, before everything else."""
        self._system.append(text)

    def add(self, items: Iterable[tuple[Item, str]]) -> None:
        """Take in items, each with its place. Raises `Refusal` 400 for what has no meaning."""
        for item, where in items:
            take = self._kinds.get(item.kind)
            if take is not None:
                take(item, where)
            elif item.kind in _CALLS:
                name, field = _CALLS[item.kind]
                self._call(item.call_id or item.id, name, text_in(getattr(item, field)))
            elif item.kind in _OUTPUTS:
                self._output(item, where)
            elif item.kind in HOSTED:
                self.dropped.append(f"input.{item.kind}")
            else:
                raise Refusal(
                    400,
                    "unsupported_parameter",
                    f"Items of type '{shown(item.kind)}' cannot be given to a model here.",
                    param=f"{where}.type",
                )

    def messages(self) -> list[dict[str, Any]]:
        """All of it as `messages` of a chat completion."""
        first = [{"role": "system", "content": "\n\n".join(self._system)}] if self._system else []
        return [*first, *self._messages]

    # What comes from people.

    def _message(self, item: Item, where: str) -> None:
        role = item.role.lower()
        if role == "assistant":
            self._said(item, where)
        elif role in ("system", "developer"):
            self._system.append(text_of(item.content, f"{where}.content"))
        elif role == "user":
            self._turn = None
            content = content_of(item.content, f"{where}.content", remote=self._remote)
            self._messages.append({"role": "user", "content": content})
        else:
            raise Refusal(
                400,
                "invalid_value",
                f"Invalid value for '{where}.role': expected one of user, assistant, system,"
                " developer.",
                param=f"{where}.role",
            )

    # What a model said: one turn until somebody else speaks.

    def _open(self) -> dict[str, Any]:
        if self._turn is None:
            self._turn = {"role": "assistant", "content": None}
            self._messages.append(self._turn)
        return self._turn

    def _said(self, item: Item, where: str) -> None:
        turn = self._open()
        text = text_of(item.content, f"{where}.content")
        turn["content"] = text if turn["content"] is None else f"{turn['content']}\n\n{text}"

    def _reasoning(self, item: Item, where: str) -> None:
        parts = item.content if isinstance(item.content, list) and item.content else item.summary
        text = "\n\n".join(part.text for part in parts or () if part.text)
        if not text:
            if item.encrypted_content:
                self.dropped.append("input.reasoning.encrypted_content")
            return
        turn = self._open()
        before = turn.get("reasoning_content")
        turn["reasoning_content"] = text if before is None else f"{before}\n\n{text}"

    def _function_call(self, item: Item, where: str) -> None:
        self._call(
            item.call_id or item.id,
            self._tools.name(item.name, item.namespace),
            text_in(item.arguments) or "{}",
        )

    def _custom_call(self, item: Item, where: str) -> None:
        arguments = custom_arguments(item.input)
        self._call(item.call_id, self._tools.name(item.name, item.namespace), arguments)

    def _search_call(self, item: Item, where: str) -> None:
        self._call(item.call_id or item.id, "tool_search", text_in(item.arguments) or "{}")

    def _mcp_call(self, item: Item, where: str) -> None:
        self._call(item.id, item.name, text_in(item.arguments) or "{}")
        self._output(item, where)

    def _call(self, call_id: str | None, name: str, arguments: str) -> None:
        calls = self._open().setdefault("tool_calls", [])
        function = {"name": name, "arguments": arguments}
        calls.append(
            {"id": call_id or f"call_{len(calls)}", "type": "function", "function": function}
        )

    # What tools said.

    def _output(self, item: Item, where: str) -> None:
        self._turn = None
        content: Content = ""
        if first_byte(item.output) == b"[":
            try:
                parts = _decode_parts(item.output)
            except UNREADABLE:
                content = bytes(item.output).decode()
            else:
                content = content_of(parts, f"{where}.output", remote=self._remote)
        else:
            content = text_in(item.output)
        self._messages.append(
            {"role": "tool", "tool_call_id": item.call_id or item.id or "", "content": content}
        )

    def _search_output(self, item: Item, where: str) -> None:
        self._more_tools(item, where)
        self._output(msgspec.structs.replace(item, output=_encode_raw(_found(item.tools))), where)

    def _more_tools(self, item: Item, where: str) -> None:
        if bytes(item.tools) not in _ABSENT:
            take_tools(item.tools, f"{where}.tools", self._tools)


def _found(tools: Raw) -> str:
    """What a model reads of the tools that were found: they are its functions from here on."""
    return "[]" if bytes(tools) in _ABSENT else bytes(tools).decode()


def _encode_raw(value: object) -> Raw:
    return Raw(_encode(value))


def text_in(raw: Raw) -> str:
    """The text in a JSON string; of anything else the JSON itself; '' for nothing."""
    if bytes(raw) in _ABSENT:
        return ""
    if first_byte(raw) == b'"':
        return _decode_text(raw)
    return bytes(raw).decode()
