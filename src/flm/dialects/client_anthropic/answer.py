"""OpenAI's whole answers as Anthropic's messages."""

from __future__ import annotations

from typing import Any

import msgspec

from flm.dialects.body import UNREADABLE, first_byte
from flm.dialects.client_anthropic.usage import WrittenUsage, written
from flm.dialects.codec import Usage
from flm.dialects.conversation import Stamp
from flm.dialects.engine_errors import bad_answer

Raw = msgspec.Raw
NO_RAW = Raw()
_encode = msgspec.json.Encoder().encode
_decode_value = msgspec.json.Decoder().decode

INVALID = "INVALID_JSON"
"""The field that holds what a model wrote in place of a JSON object. Anthropic's documents on
fine-grained tool streaming say so for results; here the client's code can look for it too."""

_STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}


class CalledFunction(msgspec.Struct, gc=False):
    """What is called. ``arguments``: JSON as a string; some engines give the object itself."""

    name: str | None = None
    arguments: Raw = NO_RAW


class AnsweredCall(msgspec.Struct, gc=False):
    """A tool call."""

    function: CalledFunction
    id: str | None = None


class _Message(msgspec.Struct, gc=False):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[AnsweredCall] | None = None
    function_call: CalledFunction | None = None


class _Choice(msgspec.Struct, gc=False):
    message: _Message
    finish_reason: str | None = None
    stop_reason: str | int | None = None


class _Answer(msgspec.Struct, gc=False):
    choices: list[_Choice]


class TextBlock(msgspec.Struct, gc=False):
    """Text."""

    text: str
    type: str = "text"


class ThinkingBlock(msgspec.Struct, gc=False):
    """Thoughts. SDKs want a signature to be there; FLM's means nothing."""

    thinking: str
    signature: str
    type: str = "thinking"


class ToolUseBlock(msgspec.Struct, gc=False):
    """A tool call."""

    id: str
    name: str
    input: Raw
    type: str = "tool_use"


Block = TextBlock | ThinkingBlock | ToolUseBlock


class MessageObject(msgspec.Struct, kw_only=True, gc=False):
    """A whole answer, or the empty one that opens a stream."""

    id: str
    type: str = "message"
    role: str = "assistant"
    model: str
    content: list[Block]
    stop_reason: str | None
    stop_sequence: str | None
    stop_details: dict[str, Any] | None = None
    usage: WrittenUsage


_decode_answer = msgspec.json.Decoder(_Answer).decode


def message_id(stamp: Stamp) -> str:
    """The id of the answer to a request."""
    return "msg_" + stamp.id.removeprefix("req_")


def signature(answer_id: str, index: int) -> str:
    """What stands for a signature: it comes back with the next request and is not looked at."""
    return f"flm-{answer_id}-{index}"


def call_id(given: str | None, answer_id: str, index: int) -> str:
    """The id of a tool call, made of the answer's where the engine gave none."""
    return given or f"toolu_{answer_id.removeprefix('msg_')}_{index}"


def stop_reason(
    finish: str | None, stopped_by: str | int | None, stops: tuple[str, ...], called: bool
) -> tuple[str, str | None]:
    """`stop_reason` and `stop_sequence`. vLLM says in ``stop_reason`` which sequence it was; some
    engines say `stop` after tool calls too.
    """
    if finish in (None, "stop") and called:
        return "tool_use", None
    if finish in (None, "stop") and isinstance(stopped_by, str) and stopped_by in stops:
        return "stop_sequence", stopped_by
    return _STOP_REASONS.get(finish or "stop", "end_turn"), None


def stop_details(reason: str) -> dict[str, Any] | None:
    """`stop_details`: of a refusal nothing is known but that it is one."""
    if reason != "refusal":
        return None
    return {"type": "refusal", "category": None, "explanation": None}


def arguments_of(raw: Raw) -> str:
    """The text of arguments. Raises `EngineError` when they are no text and no object."""
    first = first_byte(raw)
    if first in (b"", b"n"):
        return ""
    if first == b"{":
        return bytes(raw).decode("utf-8", "replace")
    try:
        return str(msgspec.json.decode(raw, type=str))
    except UNREADABLE as error:
        raise bad_answer("the arguments of a tool call cannot be read") from error


def input_of(arguments: str) -> Raw:
    """`input` of a tool call: an object always. What is none goes into `INVALID_JSON`."""
    text = arguments.strip()
    if not text or text == "null":
        return Raw(b"{}")
    try:
        value = _decode_value(text)
    except (*UNREADABLE, UnicodeEncodeError):
        value = None
    if isinstance(value, dict):
        return Raw(text.encode())
    return Raw(_encode({INVALID: arguments}))


def whole_answer(
    body: bytes, usage: Usage | None, model: str, stops: tuple[str, ...], stamp: Stamp
) -> bytes:
    """A `chat.completion` as a message. Raises `EngineError` 502 when it is none."""
    try:
        answer = _decode_answer(body)
    except UNREADABLE as error:
        raise bad_answer("it is no chat completion") from error
    if not answer.choices:
        raise bad_answer("it holds no choices")
    first = answer.choices[0]
    id_ = message_id(stamp)
    blocks = _blocks(first.message, id_)
    called = any(isinstance(block, ToolUseBlock) for block in blocks)
    reason, sequence = stop_reason(first.finish_reason, first.stop_reason, stops, called)
    if first.message.refusal:
        reason, sequence = "refusal", None
    return _encode(
        MessageObject(
            id=id_,
            model=model,
            content=blocks,
            stop_reason=reason,
            stop_sequence=sequence,
            stop_details=stop_details(reason),
            usage=written(usage),
        )
    )


def _blocks(message: _Message, id_: str) -> list[Block]:
    blocks: list[Block] = []
    thoughts = message.reasoning_content or message.reasoning
    if thoughts:
        blocks.append(ThinkingBlock(thoughts, signature(id_, 0)))
    blocks += [TextBlock(text) for text in (message.content, message.refusal) if text]
    calls = message.tool_calls or []
    if not calls and message.function_call is not None:
        calls = [AnsweredCall(message.function_call)]
    for index, call in enumerate(calls):
        function = call.function
        given = input_of(arguments_of(function.arguments))
        blocks.append(ToolUseBlock(call_id(call.id, id_, index), function.name or "", given))
    return blocks
