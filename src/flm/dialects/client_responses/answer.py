"""A whole chat completion as a whole response."""

from __future__ import annotations

import msgspec

from flm.dialects.body import UNREADABLE
from flm.dialects.client_responses.items import text_in
from flm.dialects.client_responses.output import (
    INCOMPLETE,
    LEADS,
    Envelope,
    Logprob,
    Status,
    call_item,
    final_arguments,
    message_item,
    reasoning_item,
    refusal_part,
    text_part,
)
from flm.dialects.client_responses.tools import NO_RAW
from flm.dialects.codec import Usage
from flm.dialects.engine_errors import bad_answer
from flm.dialects.toolbox import Toolbox

Raw = msgspec.Raw
_encode = msgspec.json.Encoder().encode


class _Function(msgspec.Struct):
    name: str = ""
    arguments: Raw = NO_RAW


class _Call(msgspec.Struct):
    function: _Function
    id: str | None = None


class _Part(msgspec.Struct):
    text: str = ""
    refusal: str = ""


class _Message(msgspec.Struct):
    content: str | list[_Part] | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[_Call] | None = None
    function_call: _Function | None = None


class _Logprobs(msgspec.Struct):
    content: list[Logprob] | None = None


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None


class _Completion(msgspec.Struct):
    choices: list[_Choice]


_decode = msgspec.json.Decoder(_Completion).decode


def whole_response(
    body: bytes, usage: Usage | None, envelope: Envelope, tools: Toolbox, summarised: bool
) -> bytes:
    """The response object for the chat completion in `body`.

    Raises `EngineError` when that holds no answer. ``summarised``: thoughts are said as a summary.
    """
    try:
        choices = _decode(body).choices
    except UNREADABLE as error:
        raise bad_answer("it is no chat completion") from error
    if not choices:
        raise bad_answer("it holds no choices")
    choice = choices[0]
    reason = INCOMPLETE.get(choice.finish_reason or "")
    status: Status = "completed" if reason is None else "incomplete"
    output = _items(choice, envelope, tools, summarised, status)
    return envelope.response(status, output, usage, reason=reason)


def _items(
    choice: _Choice, envelope: Envelope, tools: Toolbox, summarised: bool, status: Status
) -> list[bytes]:
    message = choice.message
    items: list[bytes] = []
    thoughts = message.reasoning_content or message.reasoning
    if thoughts:
        item = reasoning_item(envelope.item_id("rs", 0), thoughts, summarised)
        items.append(_encode(item))
    calls = message.tool_calls or []
    if message.function_call is not None:
        calls = [*calls, _Call(message.function_call)]
    content = _content(message, choice.logprobs)
    if content or not (calls or items):
        item_id = envelope.item_id("msg", len(items))
        items.append(_encode(message_item(item_id, status, content)))
    for call in calls:
        source = tools.source(call.function.name)
        number = len(items)
        arguments = final_arguments(source, text_in(call.function.arguments))
        item_id = envelope.item_id(LEADS[source.kind], number)
        call_id = call.id or envelope.call_id(number)
        items.append(_encode(call_item(item_id, call_id, source, arguments, status)))
    return items


def _content(message: _Message, logprobs: _Logprobs | None) -> list[dict[str, object]]:
    said = message.content
    if isinstance(said, list):
        text = "".join(part.text for part in said)
        refusal = message.refusal or "".join(part.refusal for part in said)
    else:
        text, refusal = said or "", message.refusal or ""
    parts: list[dict[str, object]] = []
    if text:
        told = [one.mended() for one in (logprobs.content if logprobs else None) or ()]
        parts.append(text_part(text, told))
    if refusal:
        parts.append(refusal_part(refusal))
    return parts
