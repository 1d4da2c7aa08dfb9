"""How many tokens something has, where no engine says so: a guess, and marked as one."""

from __future__ import annotations

from typing import Protocol

import msgspec

from flm.dialects.codec import Usage

LETTERS_PER_TOKEN = 4
IMAGE_TOKENS = 1000
"""What a picture is guessed at: Claude's documents say width × height / 750, at most about 1600.
A sound or a file that comes along too: nothing is known of them but that they are no text."""

_MEDIA = ("image_url", "input_audio", "audio_url", "video_url", "file")
_ASKED = ("messages", "tools", "prompt")
_WRITTEN = frozenset({"content", "text", "reasoning_content", "thinking", "arguments", "input"})
_decode = msgspec.json.Decoder().decode


class Asked(Protocol):
    """A chat, or a text completion."""

    @property
    def fields(self) -> dict[str, msgspec.Raw]:
        """Its top-level fields."""
        ...


def estimate(asked: Asked, body: bytes) -> Usage:
    """A guess from what was asked and the body of the whole answer."""
    return Usage(estimated(asked), _tokens(_said(_decode(body))), estimated=True)


def estimate_stream(asked: Asked, events: int) -> Usage:
    """A guess from what was asked and the number of events: engines send one for each token."""
    return Usage(estimated(asked), events, estimated=True)


def estimated(asked: Asked) -> int:
    """What was asked: a token is four letters of ASCII, or one character of another script; a
    picture, a sound or a file is 1000. Never 0.
    """
    return max(1, _tokens([_decode(asked.fields[name]) for name in _ASKED if name in asked.fields]))


def _said(left: object) -> list[object]:
    """What a model wrote in an answer of any dialect: the values of these fields."""
    if isinstance(left, list):
        return [found for each in left for found in _said(each)]
    if not isinstance(left, dict):
        return []
    own = [value for name, value in left.items() if name in _WRITTEN and value]
    return [*own, *(found for name, value in left.items() if name not in _WRITTEN
                    for found in _said(value))]  # fmt: skip


def _tokens(left: list[object]) -> int:
    letters = others = media = 0
    while left:
        each = left.pop()
        if isinstance(each, str):
            ascii_ones = len(each.encode("ascii", "ignore"))
            letters += ascii_ones
            others += len(each) - ascii_ones
        elif isinstance(each, dict) and each.get("type") in _MEDIA:
            media += 1
        elif isinstance(each, dict):
            left += [*each, *each.values()]  # names, templates and schemas cost tokens too
        elif isinstance(each, list):
            left += each
    return letters // LETTERS_PER_TOKEN + others + media * IMAGE_TOKENS
