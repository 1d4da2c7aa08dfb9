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


def remedy(status: int) -> str:
    """What to do about an error of that status, marked with `N_`."""
    if status == 404:
        return N_("`flm models list` shows the names there are; choose one with --model.")
    if status == 429:
        return N_("The engine is busy; run the command again in a moment.")
    if status >= 500:
        return N_("`flm engines list` says how the engines are, `flm logs` what went wrong.")
    return N_("`flm logs` shows the request; another model may do, see --model.")


def no_answer(base_url: str, error: Exception) -> NotRunning:
    """What to raise when nothing listens there, or nothing comes from there."""
    return NotRunning(
        N_("The gateway at {url} does not answer: {why}."),
        remedy=N_("`flm proxy status` says what runs; `flm up` starts it."),
        url=base_url,
        why=str(error) or type(error).__name__,
    )
