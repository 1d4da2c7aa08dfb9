"""A prompt beyond the model's context: which errors say so, and the numbers in their sentences."""

from __future__ import annotations

import re

from flm.dialects.said import Said
from flm.errors import Overflow

_SAYS_SO = re.compile(
    r"exceeds? the (?:available )?context|context (?:length|size|window)|maximum context"
    r"|prompt is too long|prompt too long|too many tokens|context_length_exceeded"
)
_NUMBER = r"\d{1,15}"
_SENTENCES = tuple(
    re.compile(pattern.replace("#", _NUMBER))
    for pattern in (
        # llama.cpp
        r"request \((?P<prompt>#) tokens\) .{0,60}?\((?P<context>#) tokens\)",
        # vLLM since 0.11
        (
            r"maximum context length is (?P<context>#) tokens.{0,40}?requested (?P<output>#) output"
            r" tokens and your prompt contains (?P<least>at least )?(?P<prompt>#)(?P<unit> \w+)?"
        ),
        # vLLM before that, and whoever says it in OpenAI's words
        (
            r"maximum context length is (?P<context>#) tokens.{0,40}?requested # tokens"
            r" \((?P<prompt>#) in the messages, (?P<output>#) in the completion\)"
        ),
        (
            r"maximum context length is (?P<context>#) tokens"
            r".{0,80}?(?:requested|resulted in|prompt contains(?P<least> at least)?|has)"
            r" (?P<prompt>#)"
            r"(?: (?:input|output))?(?P<unit> tokens| characters)?"
        ),
        # SGLang
        (
            r"maximum context length of (?P<context>#) tokens.{0,60}? (?P<prompt>#) tokens from the"
            r" input messages and (?P<output>#) tokens for the completion"
        ),
        r"input \((?P<prompt>#) tokens\) is longer than .{0,40}?\((?P<context>#) tokens\)",
        # Anthropic's words, and servers for MLX
        r"too long: (?P<prompt>#) tokens (?:>|exceeds? .{0,40}?)\s?(?P<context>#)",
    )
)


def says_so(text: str) -> bool:
    """Whether a sentence, in lower case, is about a prompt that is too long."""
    return _SAYS_SO.search(text) is not None


def overflow_in(said: Said, text: str) -> tuple[Overflow | None, str]:
    """The numbers of a prompt that is too long, and what its length is in: `tokens` as a rule,
    `characters` where an engine did not tokenize it. `text` is the message in lower case.
    """
    if said.prompt_tokens is not None and said.context is not None:
        return Overflow(said.prompt_tokens, said.context), "tokens"
    for sentence in _SENTENCES:
        found = sentence.search(text)
        if found is None:
            continue
        named = found.groupdict()
        overflow = Overflow(
            int(named["prompt"]),
            int(named["context"]),
            int(named.get("output") or 0),
            bool(named.get("least")),
        )
        unit = (named.get("unit") or "").strip()
        return overflow, "characters" if unit == "characters" else "tokens"
    return None, "tokens"
