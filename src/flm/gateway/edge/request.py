"""A request's head, as parsed and checked."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_to_bytes

_ENCODED_SLASH: Final = re.compile(rb"%2[fF]")


class Request:
    """What the edge knows of a request: bytes as they came, names in lower case.

    ``path`` is the target up to `?`, ``query`` what follows it; ``values`` holds the first value
    of each field, ``doubled`` the later ones of those that came more than once. A head that comes
    again is the same object with another ``length`` (``values`` keeps the old one);
    ``credential`` is what the key's guard found in it: None is nothing, b"" not looked for yet.
    """

    __slots__ = (
        "chunked", "credential", "doubled", "http10", "keep_alive", "length", "method", "path",
        "query", "values",
    )  # fmt: skip

    def __init__(
        self,
        method: bytes,
        path: bytes,
        values: dict[bytes, bytes],
        doubled: list[tuple[bytes, bytes]],
        http10: bool,
        keep_alive: bool,
    ) -> None:
        self.method = method
        self.path = path
        self.values = values
        self.doubled = doubled
        self.http10 = http10
        self.keep_alive = keep_alive
        self.length: int | None = None
        self.chunked = False
        self.credential: bytes | None = b""
        self.query = b""

    def all(self, name: bytes) -> list[bytes]:
        """Every value of the field `name` (lower case), in order."""
        if name not in self.values:
            return []
        return [self.values[name], *(value for key, value in self.doubled if key == name)]


def decoded(path: bytes) -> bytes:
    """`path` percent-decoded once. The route table compares it as a string, never as a path.

    An encoded slash stays encoded, so that it is in no route but behind a prefix.
    """
    return unquote_to_bytes(_ENCODED_SLASH.sub(b"%252F", path)) if b"%" in path else path


def decoded_name(text: bytes) -> bytes:
    """A name inside a path, percent-decoded once, slashes too."""
    return unquote_to_bytes(text)
