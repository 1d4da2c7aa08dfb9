"""A request's head, as parsed and checked."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes


class Request:
    """What the edge knows of a request: bytes as they came, names in lower case.

    ``path`` is the target up to `?`, percent-decoded once only where the route table allows it;
    ``headers`` keeps order and duplicates; ``values`` holds the last value of each name;
    ``doubled`` tells whether any name came twice.
    """

    __slots__ = (
        "chunked",
        "doubled",
        "headers",
        "http10",
        "keep_alive",
        "length",
        "method",
        "path",
        "values",
    )

    def __init__(
        self,
        method: bytes,
        path: bytes,
        headers: list[tuple[bytes, bytes]],
        *,
        http10: bool,
        keep_alive: bool,
    ) -> None:
        self.method = method
        self.path = path
        self.headers = headers
        self.values = dict(headers)
        self.doubled = len(self.values) != len(headers)
        self.http10 = http10
        self.keep_alive = keep_alive
        self.length: int | None = None
        self.chunked = False

    def all(self, name: bytes) -> list[bytes]:
        """Every value of the header `name` (lower case), in order."""
        return [value for key, value in self.headers if key == name]

    @property
    def has_body(self) -> bool:
        """Whether a body follows the head."""
        return self.chunked or bool(self.length)


def decoded(path: bytes) -> bytes:
    """`path` percent-decoded once. The route table compares it as a string, never as a path."""
    return unquote_to_bytes(path) if b"%" in path else path
