"""Fetching files from the web, as the services need it."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from flm.ports.engines import Progress

LARGEST = 1 << 40
"""The most a file may hold when nothing smaller is said: 1 TiB."""


class Downloads(Protocol):
    """GETs over HTTP and HTTPS, through the proxies of the user's environment.

    Every method raises `UserError` for what the other side answered or failed to answer (codes
    `download_…`), `InvalidValue` for a URL that cannot be fetched.
    """

    async def download(
        self,
        url: str,
        target: Path,
        *,
        sha256: str | None,
        progress: Progress,
        limit: int = LARGEST,
    ) -> int:
        """Have the file at `url` as `target` (0600), replacing what is there; its bytes.

        ``sha256``: its checksum in hexadecimal, None where nobody knows it; a file that has it
        already is not fetched again. Called again after a failure or a cancellation it goes on
        where it stopped: what has come lies beside `target` as ``.part``. Raises `Conflict` while
        another process fetches the same, and `UserError` when the disk is full or cannot be
        written.
        """
        ...

    async def read(self, url: str, limit: int) -> bytes:
        """A small file, at most `limit` bytes."""
        ...

    async def landing(self, url: str) -> str:
        """The address that `url` leads to in the end, redirects followed."""
        ...
