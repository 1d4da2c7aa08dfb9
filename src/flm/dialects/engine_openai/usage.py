"""The `usage` object of OpenAI's answers."""

from __future__ import annotations

import msgspec

from flm.dialects.codec import Usage

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
