"""Where the names of engines lead."""

from __future__ import annotations

from typing import Protocol


class NameRefused(Exception):
    """A name that is known to nobody, or leads where no engine may be. ``reason``: an `N_` text."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Names(Protocol):
    """Looks names up, the same for everybody who asks an engine: probes and requests alike."""

    async def address(self, host: str) -> str:
        """The IP address that `host` (a name, or an address already) means now.

        Raises `NameRefused`.
        """
        ...

    def distrust(self, host: str, address: str) -> None:
        """No connection came about there: the name is to be looked up anew."""
        ...
