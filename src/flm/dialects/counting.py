"""Counting the tokens of a request: what engines are asked, and what they answer.

Engines with a tokenizer and no `count_tokens` for what was sent are asked in one of two ways.
vLLM's `/tokenize` takes messages and says `count`. llama.cpp's takes a text, which its
`/apply-template` makes of the messages; asked vLLM's way it sees no text and gives no count, and
that is how the two are told apart.
"""

from __future__ import annotations

from typing import Any

import msgspec

from flm.dialects.body import UNREADABLE
from flm.dialects.codec import Count, EngineCall
from flm.dialects.openai_chat import ChatRequest
from flm.wire.snapshot import Target

TOKENIZE = "/tokenize"
TEMPLATE = "/apply-template"
_encode = msgspec.json.Encoder().encode


class _Counted(msgspec.Struct, gc=False):
    input_tokens: Count


class _Tokenized(msgspec.Struct, gc=False):
    count: Count | None = None
    tokens: list[Any] | None = None


class _Prompt(msgspec.Struct, gc=False):
    prompt: str


_decode_counted = msgspec.json.Decoder(_Counted).decode
_decode_tokenized = msgspec.json.Decoder(_Tokenized).decode
_decode_prompt = msgspec.json.Decoder(_Prompt).decode


def counted_in(body: bytes) -> int | None:
    """The count in an answer to `count_tokens`; None when there is none."""
    try:
        return _decode_counted(body).input_tokens
    except UNREADABLE:
        return None


def tokenizing(chat: ChatRequest, target: Target) -> EngineCall:
    """The question in vLLM's way."""
    asked: dict[str, object] = {"model": target.model, "messages": chat.fields["messages"]}
    if "tools" in chat.fields:
        asked["tools"] = chat.fields["tools"]
    return EngineCall(TOKENIZE, _encode(asked))


def templating(chat: ChatRequest, target: Target) -> EngineCall:
    """The first question in llama.cpp's way."""
    return EngineCall(TEMPLATE, tokenizing(chat, target).body)


def prompt_in(body: bytes) -> str | None:
    """The text in the answer to it; None when there is none."""
    try:
        return _decode_prompt(body).prompt
    except UNREADABLE:
        return None


def tokenizing_text(prompt: str, target: Target) -> EngineCall:
    """The second one."""
    asked = {"model": target.model, "content": prompt, "add_special": True, "parse_special": True}
    return EngineCall(TOKENIZE, _encode(asked))


def tokens_in(body: bytes) -> int | None:
    """The count in vLLM's answer; None when it is none of vLLM's."""
    try:
        return _decode_tokenized(body).count
    except UNREADABLE:
        return None


def listed_in(body: bytes) -> int | None:
    """How many tokens llama.cpp's answer lists; None when it is none of llama.cpp's."""
    try:
        tokens = _decode_tokenized(body).tokens
    except UNREADABLE:
        return None
    return None if tokens is None else len(tokens)


class _Function(msgspec.Struct, frozen=True, gc=False):
    name: str = ""
    arguments: str = ""


class _Call(msgspec.Struct, frozen=True, gc=False):
    function: _Function = _Function()


class _Message(msgspec.Struct, frozen=True, gc=False):
    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: tuple[_Call, ...] | None = None


class _Choice(msgspec.Struct, frozen=True, gc=False):
    message: _Message = _Message()


class _Answer(msgspec.Struct, frozen=True, gc=False):
    choices: tuple[_Choice, ...] = ()


_decode_answer = msgspec.json.Decoder(_Answer).decode


def said_in(body: bytes) -> str:
    """All that a model wrote in OpenAI's `chat.completion`: thoughts, text, calls."""
    try:
        answer = _decode_answer(body)
    except UNREADABLE:
        return ""
    parts: list[str] = []
    for choice in answer.choices:
        message = choice.message
        parts += [message.reasoning_content or "", message.content or ""]
        for call in message.tool_calls or ():
            parts += [call.function.name, call.function.arguments]
    return "".join(parts)
