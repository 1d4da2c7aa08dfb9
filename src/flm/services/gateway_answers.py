"""What comes back when FLM itself asks its gateway, as every client does."""

from __future__ import annotations

import json
from typing import NamedTuple

from flm.errors import N_, NotRunning


class Told(NamedTuple):
    """An error as the gateway tells it; ``code`` is '' where it tells none."""

    code: str
    message: str


def error_in(body: bytes) -> Told:
    """The error in a body of OpenAI's or Anthropic's shape, else how the body begins."""
    try:
        error = json.loads(body)["error"]
        return Told(str(error.get("code") or error.get("type") or ""), str(error["message"]))
    except (ValueError, KeyError, TypeError, AttributeError):
        return Told("", body[:200].decode("utf-8", "replace"))


def no_answer(base_url: str, error: Exception) -> NotRunning:
    """What to raise when nothing listens there, or nothing comes from there."""
    return NotRunning(
        N_("The gateway at {url} does not answer: {why}."),
        remedy=N_("`flm proxy status` says what runs; `flm up` starts it."),
        url=base_url,
        why=str(error) or type(error).__name__,
    )
