"""What is read of OpenAI's chunks."""

from __future__ import annotations

import msgspec

from flm.dialects.body import UNREADABLE
from flm.dialects.client_anthropic.answer import CalledFunction
from flm.dialects.client_anthropic.calls import CallDelta
from flm.dialects.engine_errors import bad_answer

Raw = msgspec.Raw
NOTHING = Raw(b"null")
"""Stands for a text that was not so much as named."""


class Delta(msgspec.Struct, gc=False):
    """What a chunk adds. Texts stay the JSON strings they came as."""

    content: Raw = NOTHING
    reasoning_content: Raw = NOTHING
    reasoning: Raw = NOTHING
    refusal: Raw = NOTHING
    tool_calls: list[CallDelta] | None = None
    function_call: CalledFunction | None = None


class Choice(msgspec.Struct, gc=False):
    """``stop_reason`` is vLLM's: which sequence or token ended the answer."""

    delta: Delta | None = None
    finish_reason: str | None = None
    stop_reason: str | int | None = None


class Chunk(msgspec.Struct, gc=False):
    """One event."""

    choices: list[Choice] | None = None


_decode_chunk = msgspec.json.Decoder(Chunk).decode


def decoded(line: bytes) -> Chunk:
    """The chunk in a `data:` line. Raises `EngineError` 502 when it is none."""
    try:
        return _decode_chunk(line[5:])
    except UNREADABLE as error:
        raise bad_answer("a part of it is no chunk of a chat completion") from error


def is_text(raw: Raw) -> bool:
    """Whether it is a string with something in it. Raises `EngineError` when it is no string."""
    if raw is NOTHING:
        return False
    start = bytes(memoryview(raw)[:2])
    if start == b"nu":
        return False
    if start[:1] != b'"':
        raise bad_answer("a text in it is no text")
    return start != b'""'


def is_only_text(choice: Choice, delta: Delta) -> bool:
    """Whether a chunk says a text, and nothing else was so much as named in it."""
    return (
        choice.finish_reason is None
        and delta.tool_calls is None
        and delta.reasoning_content is NOTHING
        and delta.reasoning is NOTHING
        and delta.refusal is NOTHING
        and delta.function_call is None
        and is_text(delta.content)
    )


def thought_of(delta: Delta) -> Raw:
    """Some engines say it under both names: the text is the same."""
    thought = delta.reasoning_content
    return thought if is_text(thought) else delta.reasoning
