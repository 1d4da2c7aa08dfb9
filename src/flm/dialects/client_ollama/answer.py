"""A whole answer of OpenAI's as Ollama's."""

from __future__ import annotations

import msgspec

from flm.dialects.body import UNREADABLE
from flm.dialects.client_ollama.calls import CallPiece, GatheredCalls
from flm.dialects.client_ollama.written import (
    EMPTY,
    NO_RAW,
    Form,
    body_of,
    closing,
    done_reason,
    durations,
    head_of,
    text_of,
)
from flm.dialects.codec import Usage
from flm.dialects.conversation import Stamp
from flm.dialects.engine_errors import bad_answer

Raw = msgspec.Raw


class _Message(msgspec.Struct):
    content: Raw = NO_RAW
    reasoning_content: Raw = NO_RAW
    reasoning: Raw = NO_RAW
    refusal: Raw = NO_RAW
    tool_calls: list[CallPiece] | None = None


class Logprobs(msgspec.Struct):
    """Of a choice; the list is Ollama's too."""

    content: Raw = NO_RAW


class _Choice(msgspec.Struct):
    """``message`` of a chat, ``text`` of a completion."""

    message: _Message | None = None
    text: Raw = NO_RAW
    finish_reason: str | None = None
    logprobs: Logprobs | None = None


class _Answer(msgspec.Struct):
    choices: list[_Choice]
    timings: Raw = NO_RAW


_decode = msgspec.json.Decoder(_Answer).decode


def whole(
    form: Form, model: str, body: bytes, usage: Usage | None, stamp: Stamp, now: float
) -> bytes:
    """`body`, a `chat.completion` or a `text_completion`, as Ollama answers; `now` are UTC seconds.

    Raises `EngineError` 502 `bad_engine_answer` when it is none.
    """
    try:
        answer = _decode(body)
    except UNREADABLE as error:
        raise bad_answer("it is no completion") from error
    if not answer.choices:
        raise bad_answer("it holds no choices")
    choice = answer.choices[0]
    message = choice.message or _Message(choice.text)
    gathered = GatheredCalls(stamp.id)
    # Whole calls may carry no index: each is one.
    for index, call in enumerate(message.tool_calls or ()):
        call.index = index
        gathered.add([call])
    thinking = text_of(message.reasoning_content, message.reasoning)
    said = body_of(
        form,
        text_of(message.content, message.refusal),
        b"" if thinking == EMPTY else thinking,
        gathered.take(),
    )
    times = durations(now - stamp.time, None, answer.timings)
    last = closing(done_reason(choice.finish_reason), times, usage)
    return b"".join((head_of(model, now), said, last, logprobs_of(choice.logprobs), b"}"))


def logprobs_of(logprobs: Logprobs | None) -> bytes:
    """The field for them with its comma, b"" when there are none."""
    said = b"" if logprobs is None else bytes(logprobs.content)
    return b"" if said in (b"", b"null") else b',"logprobs":' + said.replace(b"\n", b" ")
