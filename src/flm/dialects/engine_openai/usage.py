"""The `usage` object of OpenAI's answers."""

from __future__ import annotations

import msgspec

from flm.dialects.codec import Count, Usage


class Counts(msgspec.Struct, gc=False):
    """The two counts that are recorded."""

    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None


_decode = msgspec.json.Decoder(Counts | None).decode


def usage_in(raw: msgspec.Raw | None) -> Usage | None:
    """The counts in a `usage` object; None when it is absent, null or something else."""
    if raw is None:
        return None
    try:
        counts = _decode(raw)
    except msgspec.DecodeError:
        return None
    return None if counts is None else as_usage(counts)


def as_usage(counts: Counts) -> Usage:
    """The counts in FLM's words."""
    return Usage(counts.prompt_tokens, counts.completion_tokens)
