"""Where names lead, as aiohttp asks for it (imported with the first connection)."""

from __future__ import annotations

import socket

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from flm.domain.addresses import forbidden


class PinnedResolver(AbstractResolver):
    """Every name means one IP address."""

    def __init__(self, address: str) -> None:
        self._address = address

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The address; `family` does not count."""
        return [
            ResolveResult(
                hostname=host,
                host=self._address,
                port=port,
                family=socket.AF_INET6 if ":" in self._address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
        ]

    async def close(self) -> None:
        """Nothing is held."""


class WaryResolver(ThreadedResolver):
    """The system's answer, unless it leads where no engine's name may (`flm.domain.addresses`)."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Raises `OSError` for such an answer, one bad address in it is enough."""
        found = await super().resolve(host, port, family)
        for each in found:
            reason = forbidden(each["host"])
            if reason:
                raise OSError(None, f"{host}: {reason}")
        return found
