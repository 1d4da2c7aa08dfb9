"""Tokens as Anthropic counts them: those from a cache are no part of `input_tokens`."""

from __future__ import annotations

import msgspec

from flm.dialects.codec import Count, InputDetails, OutputDetails, Usage


class ThoughtTokens(msgspec.Struct, gc=False):
    """`output_tokens_details`."""

    thinking_tokens: Count | None = None


class AnthropicUsage(msgspec.Struct, gc=False):
    """`usage` as an engine says it. None: not told."""

    input_tokens: Count | None = None
    output_tokens: Count | None = None
    cache_read_input_tokens: Count | None = None
    cache_creation_input_tokens: Count | None = None
    output_tokens_details: ThoughtTokens | None = None


class WrittenUsage(msgspec.Struct, omit_defaults=True, gc=False):
    """`usage` as FLM says it. Engines keep a cache without being told and charge nobody for
    filling it, so nothing is ever "created".
    """

    input_tokens: int
    cache_creation_input_tokens: int
    cache_read_input_tokens: int
    output_tokens: int
    output_tokens_details: ThoughtTokens | None = None


_decode_usage = msgspec.json.Decoder(AnthropicUsage | None).decode


def written(usage: Usage | None) -> WrittenUsage:
    """OpenAI's counts as Anthropic's; zeros where nothing is known."""
    if usage is None:
        return WrittenUsage(0, 0, 0, 0)
    prompt = usage.prompt_tokens or 0
    cached = min(usage.cached_tokens or 0, prompt)
    thoughts = usage.reasoning_tokens
    return WrittenUsage(
        prompt - cached,
        0,
        cached,
        usage.completion_tokens or 0,
        None if thoughts is None else ThoughtTokens(thoughts),
    )


def read(raw: msgspec.Raw | None) -> AnthropicUsage | None:
    """A `usage` object; None when it is absent, null or something else."""
    if raw is None:
        return None
    try:
        usage: AnthropicUsage | None = _decode_usage(raw)
    except msgspec.DecodeError:
        return None
    return usage


def merged(first: AnthropicUsage | None, then: AnthropicUsage | None) -> AnthropicUsage | None:
    """The counts of `message_start` and of `message_delta`, which are totals: the later counts."""
    if first is None or then is None:
        return then or first
    return AnthropicUsage(
        _later(first.input_tokens, then.input_tokens),
        _later(first.output_tokens, then.output_tokens),
        _later(first.cache_read_input_tokens, then.cache_read_input_tokens),
        _later(first.cache_creation_input_tokens, then.cache_creation_input_tokens),
        then.output_tokens_details or first.output_tokens_details,
    )


def _later(first: int | None, then: int | None) -> int | None:
    return first if then is None else then


def counted(usage: AnthropicUsage | None) -> Usage | None:
    """Anthropic's counts in OpenAI's words; None when there are none."""
    if usage is None or (usage.input_tokens is None and usage.output_tokens is None):
        return None
    cached, made = usage.cache_read_input_tokens, usage.cache_creation_input_tokens
    prompt = None
    if usage.input_tokens is not None:
        prompt = usage.input_tokens + (cached or 0) + (made or 0)
    thoughts = usage.output_tokens_details
    thought = None if thoughts is None else thoughts.thinking_tokens
    return Usage(
        prompt,
        usage.output_tokens,
        None if cached is None else InputDetails(cached),
        None if thought is None else OutputDetails(thought),
    )
