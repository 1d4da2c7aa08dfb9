"""What is found out about a request while it is translated."""

from __future__ import annotations

from flm.dialects.fields import shown

LISTED = 40
"""Names of fields that are told at most; a body may hold thousands of blocks."""


class Notes:
    """``dropped``: what is not passed on, by name. ``images``: there are pictures. ``plain``:
    engines that speak this dialect by themselves understand everything that was said (not more
    than text, pictures in base64, tool calls and results, thoughts). ``remote``: URLs of pictures
    may stay, and ``remote_media`` says that there are some, which FLM fetches.
    """

    __slots__ = ("dropped", "images", "plain", "remote", "remote_media")

    def __init__(self, remote: bool = False) -> None:
        self.dropped: dict[str, None] = {}
        self.images = False
        self.remote = remote
        self.remote_media = False
        self.plain = True

    def drop(self, name: str) -> None:
        """Name something that is left out."""
        if len(self.dropped) < LISTED:
            self.dropped[shown(name)] = None
