"""Messages of Ollama's dialect as OpenAI's."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from flm.dialects.body import first_byte
from flm.dialects.client_ollama.pictures import media_part
from flm.dialects.media import Part
from flm.dialects.openai_chat import Message
from flm.errors import Refusal

Raw = msgspec.Raw
_NO_ARGUMENTS = Raw(b"{}")
_TEXT = Raw(b'"text"')
_encode = msgspec.json.Encoder().encode
_decode_text = msgspec.json.Decoder(str).decode


class GivenFunction(msgspec.Struct):
    """``arguments`` are an object; a string that holds one is taken too."""

    name: str
    arguments: Raw = _NO_ARGUMENTS


class GivenCall(msgspec.Struct):
    """A tool call of an earlier answer; older clients keep no id."""

    function: GivenFunction
    id: str | None = None


class GivenMessage(msgspec.Struct, gc=False):
    """A message as Ollama's clients write it."""

    role: Annotated[str, Meta(min_length=1, max_length=64)]
    content: str | None = None
    thinking: str | None = None
    images: list[Raw] | None = None
    tool_calls: list[GivenCall] | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None
    name: str | None = None


class _Function(msgspec.Struct):
    name: str
    arguments: str


class _Call(msgspec.Struct):
    id: str
    type: str
    function: _Function


class _Message(msgspec.Struct, omit_defaults=True):
    role: str
    content: str | list[Part]
    reasoning_content: str | None = None
    tool_calls: list[_Call] | None = None
    tool_call_id: str | None = None
    name: str | None = None


class Translated(msgspec.Struct, frozen=True):
    """Messages of OpenAI's: as JSON, as they are judged, and whether pictures are among them."""

    raw: Raw
    messages: list[Message]
    images: bool


def translate(given: list[GivenMessage]) -> Translated:
    """The messages in OpenAI's words.

    Calls without an id get one made of their place, so that the same history has the same ids
    with every request; results find their call by id, by the function's name, or by their order.
    Raises `Refusal` 400 `invalid_value` for what is no picture or no arguments.
    """
    open_calls = _OpenCalls()
    images = False
    messages: list[_Message] = []
    for index, one in enumerate(given):
        message = _Message(role=one.role.lower(), content=one.content or "")
        if one.images:
            message.content, pictured = with_media(
                one.content or "", one.images, f"messages[{index}].images"
            )
            images = images or pictured
        if one.thinking:
            message.reasoning_content = one.thinking
        if one.tool_calls:
            message.tool_calls = open_calls.called(one.tool_calls, index)
        if message.role == "tool":
            message.tool_call_id, message.name = open_calls.answered(one, index)
        messages.append(message)
    judged = [Message(role=message.role, content=message.content) for message in messages]
    return Translated(Raw(_encode(messages)), judged, images)


def with_media(text: str, images: list[Raw], where: str) -> tuple[list[Part], bool]:
    """A text and what came along as parts, and whether there are pictures among them."""
    parts: list[Part] = [{"type": _TEXT, "text": Raw(_encode(text))}] if text else []
    pictured = False
    for index, raw in enumerate(images):
        part, picture = media_part(raw, f"{where}[{index}]")
        parts.append(part)
        pictured = pictured or picture
    return parts, pictured


class _OpenCalls:
    """The calls that no result was seen of yet: id and name, in their order."""

    def __init__(self) -> None:
        self._open: list[tuple[str, str]] = []

    def called(self, calls: list[GivenCall], message: int) -> list[_Call]:
        made: list[_Call] = []
        for index, call in enumerate(calls):
            where = f"messages[{message}].tool_calls[{index}].function.arguments"
            id_ = call.id or f"call_{message}_{index}"
            name = call.function.name
            self._open.append((id_, name))
            text = _arguments(call.function.arguments, where)
            made.append(_Call(id_, "function", _Function(name, text)))
        return made

    def answered(self, result: GivenMessage, message: int) -> tuple[str, str | None]:
        """The id of the call that was answered, and its name where no call is known."""
        wanted = result.tool_name or result.name
        for place, (id_, name) in enumerate(self._open):
            if result.tool_call_id:
                found = id_ == result.tool_call_id
            else:
                found = not wanted or name == wanted
            if found:
                del self._open[place]
                return id_, None
        return result.tool_call_id or f"call_{message}", wanted


def _arguments(raw: Raw, where: str) -> str:
    kind = first_byte(raw)
    if kind == b"{":
        return bytes(raw).decode()
    if kind == b'"':
        return _decode_text(raw) or "{}"
    if bytes(raw) == b"null":
        return "{}"
    raise Refusal(
        400, "invalid_value", f"Invalid value for '{where}': expected an object.", param=where
    )
