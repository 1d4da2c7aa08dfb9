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
LETTERS_PER_TOKEN = 4
IMAGE_TOKENS = 1000
"""What a picture is guessed at: Claude's documents say width × height / 750, at most about 1600."""

_encode = msgspec.json.Encoder().encode
_decode_any = msgspec.json.Decoder().decode


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


def estimated(chat: ChatRequest) -> int:
    """A guess: a token is four letters of ASCII, or one character of another script; a picture is
    1000. Never 0.
    """
    letters = others = pictures = 0
    left = [_decode_any(chat.fields[name]) for name in ("messages", "tools") if name in chat.fields]
    while left:
        each = left.pop()
        if isinstance(each, str):
            ascii_ones = len(each.encode("ascii", "ignore"))
            letters += ascii_ones
            others += len(each) - ascii_ones
        elif isinstance(each, dict) and each.get("type") == "image_url":
            pictures += 1
        elif isinstance(each, dict):
            left += [*each, *each.values()]  # names, templates and schemas cost tokens too
        elif isinstance(each, list):
            left += each
    return max(1, letters // LETTERS_PER_TOKEN + others + pictures * IMAGE_TOKENS)
