"""Reasoning under both its names: some clients read `reasoning_content`, others `reasoning`."""

from __future__ import annotations

import re

NAMES = (b"reasoning_content", b"reasoning")
_THOUGHT = re.compile(rb'"(?:reasoning_content|reasoning)"\s*:\s*("(?:[^"\\]|\\.)+")')


def has_thought(data: bytes) -> bool:
    """Whether there is reasoning in an event or an answer, under either name.

    Inside a JSON string a quote has a backslash before it: what is found is never text.
    """
    return data.find(b'"reasoning') >= 0 and _THOUGHT.search(data) is not None


def missing_name(data: bytes) -> bytes:
    """The name that its reasoning has not; b"" when it has both or there is none."""
    content, plain = (data.find(b'"%b"' % name) >= 0 for name in NAMES)
    if content == plain:
        return b""
    return NAMES[1] if content else NAMES[0]


def under_both_names(data: bytes) -> bytes:
    """An event or a whole answer with its reasoning under both names."""
    name = missing_name(data)
    if not name:
        return data
    return _THOUGHT.sub(lambda found: b'%b,"%b":%b' % (found[0], name, found[1]), data)
