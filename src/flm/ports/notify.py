"""Telling what runs that the store has changed."""

from __future__ import annotations

from typing import Protocol


class Notify(Protocol):
    """A way to the controller of this data directory."""

    def poke(self) -> None:
        """The store changed: returns when every gateway applies it, at once when nothing runs."""
        ...
