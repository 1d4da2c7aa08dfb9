"""How many tokens something has, where no engine says so: a guess, and marked as one."""

from __future__ import annotations

from typing import Protocol

import msgspec

from flm.dialects.codec import Usage

BYTES_PER_TOKEN = 4
"""English has about four letters to a token; what is not ASCII about one character, which is two
to four bytes, so that Japanese counts a little low and code about right."""


class Asked(Protocol):
    """A chat, or a text completion."""

    @property
    def fields(self) -> dict[str, msgspec.Raw]:
        """Its top-level fields."""
        ...


def estimate(asked: Asked, answered: int) -> Usage:
    """A guess from the bytes of the messages, or the prompt, and of the answer's body."""
    return Usage(_tokens(asked), answered // BYTES_PER_TOKEN, estimated=True)


def estimate_stream(asked: Asked, events: int) -> Usage:
    """A guess from the number of events: engines send one for each token."""
    return Usage(_tokens(asked), events, estimated=True)


def _tokens(asked: Asked) -> int:
    said = asked.fields.get("messages") or asked.fields.get("prompt")
    return 0 if said is None else len(memoryview(said)) // BYTES_PER_TOKEN
