"""The `usage` object of OpenAI's answers."""

from __future__ import annotations

import msgspec

from flm.dialects.codec import Count, Usage


class _Counts(msgspec.Struct):
    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None


_decode = msgspec.json.Decoder(_Counts | None).decode


def usage_in(raw: msgspec.Raw | None) -> Usage | None:
    """The counts in a `usage` object; None when it is absent, null or something else."""
    if raw is None:
        return None
    try:
        counts = _decode(raw)
    except msgspec.DecodeError:
        return None
    return None if counts is None else Usage(counts.prompt_tokens, counts.completion_tokens)
