"""The conversation of a Messages request as OpenAI's messages.

* What the system says comes first, in one message, wherever it stood: many chat templates refuse
  any other place.
* Results of tools become messages of their own, before what else the turn says; pictures in them
  go into the user's message behind them, because OpenAI's tool messages hold text only.
* Thoughts become `reasoning_content` of the assistant's message; their signatures mean nothing
  here.
"""

from __future__ import annotations

import msgspec

from flm.dialects.body import first_byte
from flm.dialects.client_anthropic.content import (
    ImagePart,
    Part,
    TextPart,
    inner_blocks,
    parts_of,
    required,
)
from flm.dialects.client_anthropic.form import Block, Message
from flm.dialects.client_anthropic.notes import Notes
from flm.errors import Refusal

_ROLES = {
    "user": "user",
    "assistant": "assistant",
    "system": "system",
    # Claude Code 2.1.154 and later say these of what it adds by itself.
    "ctx": "user",
    "msg": "user",
}
_BILLING = "x-anthropic-billing-header"
"""Claude Code opens its system prompt with this line for Anthropic's books. It differs with every
request, so that no engine could use its cache for anything behind it."""

_SEE_BELOW = "(The result is the picture that follows.)"


class CalledFunction(msgspec.Struct, gc=False):
    """``arguments`` is JSON as a string."""

    name: str
    arguments: str


class Call(msgspec.Struct, gc=False):
    """A tool call as OpenAI spells it."""

    id: str
    function: CalledFunction
    type: str = "function"


class ChatMessage(msgspec.Struct, omit_defaults=True, kw_only=True, gc=False):
    """A message as OpenAI spells it. ``content`` has no default: it is always there."""

    role: str
    content: str | list[Part]
    reasoning_content: str | None = None
    tool_calls: list[Call] | None = None
    tool_call_id: str | None = None


def translate(
    system: str | list[Block] | None, given: list[Message], notes: Notes
) -> list[ChatMessage]:
    """The messages in OpenAI's words. Raises `Refusal` 400 as `content.parts_of` does."""
    head = _system(system, "system", notes)
    out: list[ChatMessage] = []
    for index, message in enumerate(given):
        where = f"messages[{index}]"
        role = _ROLES.get(message.role)
        if role is None:
            raise Refusal(
                400,
                "invalid_value",
                f"Invalid value for '{where}.role': expected 'user' or 'assistant'.",
                param=f"{where}.role",
            )
        content = message.content
        if role == "system":
            head += _system(content, f"{where}.content", notes)
        elif isinstance(content, str):
            out.append(ChatMessage(role=role, content=content))
        elif role == "assistant":
            out.append(_assistant(content, f"{where}.content", notes))
        else:
            out += _user(content, f"{where}.content", notes)
    if head:
        out.insert(0, ChatMessage(role="system", content="\n".join(head)))
    return out


def _system(given: str | list[Block] | None, where: str, notes: Notes) -> list[str]:
    if given is None or isinstance(given, str):
        blocks = [Block(type="text", text=given)] if given else []
    else:
        blocks = given
    texts: list[str] = []
    for index, block in enumerate(blocks):
        note_caching(block, notes)
        for part in parts_of(block, f"{where}[{index}]", notes):
            if not isinstance(part, TextPart):
                raise Refusal(
                    400,
                    "invalid_value",
                    f"Invalid value for '{where}[{index}]': the system speaks in text only.",
                    param=f"{where}[{index}]",
                )
            if part.text.startswith(_BILLING):
                notes.drop(f"system.{_BILLING}")
            elif part.text:
                texts.append(part.text)
    return texts


def note_caching(block: Block, notes: Notes) -> None:
    """Engines keep what they can without being told."""
    if first_byte(block.cache_control) == b"{":
        notes.drop("cache_control")


def _user(blocks: list[Block], where: str, notes: Notes) -> list[ChatMessage]:
    results: list[ChatMessage] = []
    parts: list[Part] = []
    for index, block in enumerate(blocks):
        note_caching(block, notes)
        place = f"{where}[{index}]"
        if block.type == "tool_result":
            results.append(_result(block, place, parts, notes))
        else:
            parts += parts_of(block, place, notes)
    if parts or not results:
        results.append(ChatMessage(role="user", content=_content(parts)))
    return results


def _result(block: Block, where: str, parts: list[Part], notes: Notes) -> ChatMessage:
    """The message of a tool; pictures are added to `parts`."""
    texts: list[str] = []
    pictures: list[Part] = []
    for index, inner in enumerate(inner_blocks(block.content, f"{where}.content")):
        note_caching(inner, notes)
        for part in parts_of(inner, f"{where}.content[{index}]", notes):
            if isinstance(part, TextPart):
                texts.append(part.text)
            else:
                pictures.append(part)
    text = "\n".join(texts)
    if pictures:
        parts += pictures
        text = f"{text}\n{_SEE_BELOW}" if text else _SEE_BELOW
    if block.is_error and not text.lower().startswith("error"):
        text = f"Error: {text}" if text else "Error"
    return ChatMessage(
        role="tool",
        content=text,
        tool_call_id=required(block.tool_use_id, f"{where}.tool_use_id"),
    )


def _assistant(blocks: list[Block], where: str, notes: Notes) -> ChatMessage:
    parts: list[Part] = []
    thoughts: list[str] = []
    calls: list[Call] = []
    for index, block in enumerate(blocks):
        note_caching(block, notes)
        place = f"{where}[{index}]"
        if block.type == "thinking":
            thoughts.append(required(block.thinking, f"{place}.thinking"))
        elif block.type == "redacted_thinking":
            notes.drop(block.type)  # nobody but Anthropic can read it
        elif block.type == "tool_use":
            calls.append(_call(block, place))
        else:
            parts += parts_of(block, place, notes)
    return ChatMessage(
        role="assistant",
        content=_content(parts),
        reasoning_content="\n".join(thought for thought in thoughts if thought) or None,
        tool_calls=calls or None,
    )


def _call(block: Block, where: str) -> Call:
    given = block.input
    if first_byte(given) != b"{":
        raise Refusal(
            400,
            "invalid_value",
            f"Invalid value for '{where}.input': expected an object.",
            param=f"{where}.input",
        )
    name = required(block.name, f"{where}.name")
    arguments = CalledFunction(name, bytes(given).decode())
    return Call(required(block.id, f"{where}.id"), arguments)


def _content(parts: list[Part]) -> str | list[Part]:
    """Text alone is a string: not every chat template reads parts."""
    if any(isinstance(part, ImagePart) for part in parts):
        return parts
    return "\n".join(part.text for part in parts if isinstance(part, TextPart))
