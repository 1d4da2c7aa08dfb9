"""What Ollama answers to `/api/chat`, and OpenAI's words for it."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from flm.dialects.body import UNREADABLE
from flm.dialects.codec import Count, EngineAnswer, Usage
from flm.dialects.engine_errors import bad_answer, explain
from flm.dialects.engine_ollama.messages import arguments_text
from flm.dialects.engine_openai.usage import usage_object
from flm.dialects.openai_chat import NO_RAW
from flm.wire.snapshot import Target

Raw = msgspec.Raw
Byte = Annotated[int, Meta(ge=0, le=255)]
_encode = msgspec.json.Encoder().encode
FINGERPRINT = "fp_ollama"
NO_ERROR = (b"", b"null", b'""')


class AnsweredFunction(msgspec.Struct):
    """``arguments`` is an object; OpenAI's clients want its text."""

    name: str
    arguments: Raw = NO_RAW


class AnsweredCall(msgspec.Struct):
    """A tool call; older versions give no id."""

    function: AnsweredFunction
    id: str | None = None


class AnsweredMessage(msgspec.Struct):
    """The message of a line or of the whole answer."""

    content: str = ""
    thinking: str = ""
    tool_calls: list[AnsweredCall] | None = None


class TopLogprob(msgspec.Struct):
    """OpenAI's clients want ``bytes`` to be there."""

    token: str
    logprob: float
    bytes: list[Byte] | None = None


class Logprob(msgspec.Struct):
    """OpenAI's clients want ``top_logprobs`` to be a list."""

    token: str
    logprob: float
    bytes: list[Byte] | None = None
    top_logprobs: list[TopLogprob] = []


class Line(msgspec.Struct):
    """One line of a stream, or the whole answer. Counts of zero are left out by Ollama.

    ``message`` is the chat's; ``response`` and ``thinking`` are those of `/api/generate`.
    """

    message: AnsweredMessage | None = None
    response: str = ""
    thinking: str = ""
    done: bool = False
    done_reason: str = ""
    prompt_eval_count: Count = 0
    eval_count: Count = 0
    logprobs: list[Logprob] | None = None
    error: Raw = NO_RAW

    @property
    def usage(self) -> Usage:
        """What was counted."""
        return Usage(self.prompt_eval_count, self.eval_count)


class Function(msgspec.Struct):
    """OpenAI's: ``arguments`` is a string."""

    name: str
    arguments: str


class ToolCall(msgspec.Struct, omit_defaults=True):
    """OpenAI's; ``index`` in streams only. ``type`` has no default, so that it is written."""

    id: str
    type: str
    function: Function
    index: int | None = None


_decode = msgspec.json.Decoder(Line).decode


def read_line(data: bytes, target: Target) -> Line:
    """`data` as a line. Raises `EngineError` when it says an error, or is none."""
    try:
        line = _decode(data)
    except UNREADABLE as error:
        raise bad_answer("it is not what Ollama's API says") from error
    if bytes(line.error) not in NO_ERROR:
        raise explain(200, {}, data, target)
    if line.done and line.done_reason in ("load", "unload"):
        raise bad_answer("Ollama only loaded or unloaded the model")
    return line


def tool_calls(calls: list[AnsweredCall], first: int, answer_id: str) -> list[ToolCall]:
    """Calls as OpenAI spells them; one without an id gets one made of the answer's."""
    seed = answer_id.removeprefix("chatcmpl-")
    return [
        ToolCall(
            id=call.id or f"call_{seed}_{index}",
            type="function",
            function=Function(call.function.name, arguments_text(call.function.arguments)),
            index=index,
        )
        for index, call in enumerate(calls, first)
    ]


def finish_reason(line: Line, called: bool) -> str:
    """Ollama says `stop` after tool calls too."""
    if line.done_reason == "length":
        return "length"
    return "tool_calls" if called else "stop"


def whole_answer(
    body: bytes, model: str, target: Target, created: int, answer_id: str
) -> EngineAnswer:
    """The answer to a request without a stream as a `chat.completion`."""
    line = read_line(body, target)
    if not line.done or line.message is None:
        raise bad_answer("it is not whole")
    said = line.message
    calls = tool_calls(said.tool_calls or [], 0, answer_id)
    message: dict[str, object] = {
        "role": "assistant",
        "content": None if calls and not said.content else said.content,
    }
    if said.thinking:
        message["reasoning_content"] = message["reasoning"] = said.thinking
    if calls:
        for call in calls:
            call.index = None
        message["tool_calls"] = calls
    logprobs = None if line.logprobs is None else {"content": line.logprobs, "refusal": None}
    answer = {
        "id": answer_id,
        "object": "chat.completion",
        "created": created,
        "model": model,
        "system_fingerprint": FINGERPRINT,
        "choices": [
            {
                "index": 0,
                "message": message,
                "logprobs": logprobs,
                "finish_reason": finish_reason(line, bool(calls)),
            }
        ],
        "usage": usage_object(line.usage),
    }
    return EngineAnswer(_encode(answer), line.usage)
