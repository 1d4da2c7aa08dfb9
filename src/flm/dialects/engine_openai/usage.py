"""The `usage` object of OpenAI's answers."""

from __future__ import annotations

import re

import msgspec

from flm.dialects.codec import Usage

_NULL = re.compile(rb'"usage"\s*:\s*null')
_decode = msgspec.json.Decoder(Usage | None).decode


def usage_in(raw: msgspec.Raw | None) -> Usage | None:
    """The counts in a `usage` object; None when it is absent, null or something else."""
    if raw is None:
        return None
    try:
        usage: Usage | None = _decode(raw)
    except msgspec.DecodeError:
        return None
    return usage


def usage_is_null(events: bytes) -> bool:
    """Whether every `"usage"` is null: some engines write that into every event."""
    return events.count(b'"usage"') == len(_NULL.findall(events))


def usage_object(usage: Usage) -> dict[str, int]:
    """The three counts that every client reads."""
    prompt, completion = usage.prompt_tokens or 0, usage.completion_tokens or 0
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
