"""Messages of OpenAI's dialect as Ollama's `/api/chat` takes them."""

from __future__ import annotations

import re

import msgspec

from flm.dialects.body import UNREADABLE, check_depth, first_byte, invalid_json
from flm.dialects.fields import wrong_value
from flm.errors import Refusal

Raw = msgspec.Raw
_decode_object = msgspec.json.Decoder(dict[str, Raw]).decode
_NO_ARGUMENTS = Raw(b"{}")
_DATA_URL = re.compile(r"data:[^,]{0,200};base64,", re.IGNORECASE)
_ROLES = {"developer": "system", "function": "tool"}
_TEXT = (None, "text", "input_text", "output_text")


class _ImageUrl(msgspec.Struct):
    url: str


class _Audio(msgspec.Struct):
    data: str


class _Part(msgspec.Struct):
    type: str | None = None
    text: str | None = None
    refusal: str | None = None
    image_url: _ImageUrl | str | None = None
    input_audio: _Audio | None = None


class _Function(msgspec.Struct):
    name: str
    arguments: Raw = _NO_ARGUMENTS


class _ToolCall(msgspec.Struct):
    function: _Function
    id: str | None = None


class _Given(msgspec.Struct):
    role: str
    content: str | list[_Part] | None = None
    name: str | None = None
    refusal: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    thinking: str | None = None
    tool_calls: list[_ToolCall] | None = None
    function_call: _Function | None = None
    tool_call_id: str | None = None


class CalledFunction(msgspec.Struct):
    """A function and its arguments: a JSON object, where OpenAI has a string."""

    name: str
    arguments: Raw


class Call(msgspec.Struct, omit_defaults=True):
    """A tool call as Ollama spells it."""

    function: CalledFunction
    id: str | None = None


class OllamaMessage(msgspec.Struct, omit_defaults=True):
    """A message as Ollama spells it; ``images`` are base64 without a prefix."""

    role: str
    content: str
    thinking: str | None = None
    images: list[str] | None = None
    tool_calls: list[Call] | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None


_decode = msgspec.json.Decoder(list[_Given]).decode
_decode_text = msgspec.json.Decoder(str).decode


def translate(raw: Raw) -> tuple[list[OllamaMessage], tuple[str, ...]]:
    """The messages for Ollama, and the names of what was lost on the way.

    Raises `Refusal` 400: `invalid_value` for what is no message or for arguments that are no
    JSON object, `unsupported_modalities` for parts Ollama cannot take.
    """
    try:
        given = _decode(raw)
    except msgspec.ValidationError as error:
        raise wrong_value(error, "messages") from error
    except msgspec.DecodeError as error:
        raise invalid_json(str(error)) from error
    names_of_calls: dict[str, str] = {}
    messages = [
        _message(one, f"messages[{index}]", names_of_calls) for index, one in enumerate(given)
    ]
    named = any(one.name is not None and one.role not in ("tool", "function") for one in given)
    return messages, ("messages.name",) if named else ()


def _message(given: _Given, where: str, names_of_calls: dict[str, str]) -> OllamaMessage:
    role = given.role.lower()
    message = OllamaMessage(
        role=_ROLES.get(role, role),
        content="",
        thinking=given.reasoning_content or given.reasoning or given.thinking or None,
    )
    if isinstance(given.content, list):
        message.content, message.images = _parts(given.content, f"{where}.content")
    else:
        message.content = given.content or given.refusal or ""
    calls = given.tool_calls or []
    if given.function_call is not None:
        calls = [*calls, _ToolCall(given.function_call)]
    if calls:
        message.tool_calls = [
            _call(call, f"{where}.tool_calls[{index}].function.arguments")
            for index, call in enumerate(calls)
        ]
        names_of_calls.update((call.id, call.function.name) for call in calls if call.id)
    if message.role == "tool":
        message.tool_call_id = given.tool_call_id
        message.tool_name = given.name or names_of_calls.get(given.tool_call_id or "")
    return message


def _parts(parts: list[_Part], where: str) -> tuple[str, list[str] | None]:
    """The text of the parts, a line break between two, and their media."""
    texts: list[str] = []
    media: list[str] = []
    for index, part in enumerate(parts):
        if part.image_url is not None:
            media.append(_base64(part.image_url, f"{where}[{index}].image_url"))
        elif part.input_audio is not None:
            media.append(part.input_audio.data)
        elif part.type in _TEXT and part.text is not None:
            texts.append(part.text)
        elif part.refusal is not None:
            texts.append(part.refusal)
        else:
            raise Refusal(
                400,
                "unsupported_modalities",
                f"Ollama takes text, images and audio, no '{(part.type or '?')[:40]}'.",
                param=f"{where}[{index}].type",
            )
    return "\n".join(texts), media or None


def _base64(image: _ImageUrl | str, where: str) -> str:
    url = image if isinstance(image, str) else image.url
    prefix = _DATA_URL.match(url)
    if prefix is None:
        raise Refusal(
            400,
            "unsupported_image_url",
            "Ollama takes images as data: URLs in base64: data:image/png;base64,iVBORw0….",
            param=where,
        )
    return url[prefix.end() :]


def _call(call: _ToolCall, where: str) -> Call:
    return Call(
        CalledFunction(call.function.name, _arguments(call.function.arguments, where)), call.id
    )


def _arguments(raw: Raw, where: str) -> Raw:
    """The object inside the string of arguments; an object is taken as it is."""
    if first_byte(raw) == b"{":
        return raw
    if bytes(raw) == b"null":
        return _NO_ARGUMENTS
    try:
        inner = _decode_text(raw).encode().strip()
        if not inner:
            return _NO_ARGUMENTS
        check_depth(inner)
        _decode_object(inner)
    except (*UNREADABLE, UnicodeEncodeError) as error:
        raise Refusal(
            400,
            "invalid_value",
            f"Invalid value for '{where}': expected a string that holds a JSON object.",
            param=where,
        ) from error
    return Raw(inner)


def arguments_text(raw: Raw) -> str:
    """The other way: an object of arguments as the string OpenAI's clients expect."""
    if bytes(raw) in (b"", b"null"):
        return "{}"
    text = bytes(raw).decode("utf-8", "replace")
    if text.startswith('"'):
        return _decode_text(raw)
    return text
