"""How many tokens something has, where no engine says so: a guess, and marked as one."""

from __future__ import annotations

from flm.dialects.codec import Usage
from flm.dialects.openai_chat import ChatRequest

BYTES_PER_TOKEN = 4
"""English has about four letters to a token; what is not ASCII about one character, which is two
to four bytes, so that Japanese counts a little low and code about right."""


def estimate(chat: ChatRequest, answered: int) -> Usage:
    """A guess from the bytes of the messages and of the answer's body."""
    asked = len(memoryview(chat.fields["messages"]))
    return Usage(asked // BYTES_PER_TOKEN, answered // BYTES_PER_TOKEN, estimated=True)


def estimate_stream(chat: ChatRequest, events: int) -> Usage:
    """A guess from the number of events: engines send one for each token."""
    asked = len(memoryview(chat.fields["messages"]))
    return Usage(asked // BYTES_PER_TOKEN, events, estimated=True)
