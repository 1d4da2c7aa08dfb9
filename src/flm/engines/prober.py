"""Plain HTTP questions to engines, by aiohttp (imported with the first question).

No proxies from the environment, no redirects, no cookies, no compression, one connection for
each question, and a cap on what is read: what answers may be anything.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from flm.domain.engines import Address
from flm.ports.clock import Clock
from flm.ports.engines import NO_ANSWER, Probe

if TYPE_CHECKING:
    import aiohttp


class HttpProber:
    """Implements `flm.ports.engines.Prober`. Holds nothing open between questions."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def get(
        self,
        address: Address,
        path: str,
        *,
        key: str | None = None,
        seconds: float = 2.0,
        limit: int = 64 << 10,
    ) -> Probe:
        """GET `path`; never raises for what the network or the engine does."""
        return await self._ask("GET", address, path, None, key, seconds, limit)

    async def post(
        self,
        address: Address,
        path: str,
        body: bytes,
        *,
        key: str | None = None,
        seconds: float = 5.0,
        limit: int = 1 << 20,
    ) -> Probe:
        """POST JSON; never raises for what the network or the engine does."""
        return await self._ask("POST", address, path, body, key, seconds, limit)

    async def _ask(
        self,
        method: str,
        address: Address,
        path: str,
        body: bytes | None,
        key: str | None,
        seconds: float,
        limit: int,
    ) -> Probe:
        import aiohttp

        headers = {"Accept": "application/json, text/plain", "Accept-Encoding": "identity"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        started = self._clock.monotonic()
        try:
            async with (
                asyncio.timeout(seconds),
                _session() as session,
                session.request(
                    method, address.url + path, data=body, headers=headers, allow_redirects=False
                ) as answer,
            ):
                content = await _read(answer, limit)
        except TimeoutError:
            return self._failed(started, NO_ANSWER)
        except aiohttp.ClientConnectorError:
            return self._failed(started, "connection refused")
        except aiohttp.ServerDisconnectedError:
            return self._failed(started, "closed the connection without an answer")
        except (aiohttp.ClientError, OSError, ValueError):
            # ValueError: a key that fits into no header, a port aiohttp does not take
            return self._failed(started, "no whole HTTP answer")
        fields = {name.lower(): value for name, value in answer.headers.items()}
        return Probe(
            status=answer.status, headers=fields, body=content, latency_ms=self._since(started)
        )

    def _failed(self, started: float, why: str) -> Probe:
        return Probe(status=0, headers={}, body=b"", latency_ms=self._since(started), error=why)

    def _since(self, started: float) -> float:
        return (self._clock.monotonic() - started) * 1000


def _session() -> aiohttp.ClientSession:
    import aiohttp

    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(force_close=True, use_dns_cache=False),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
    )


async def _read(answer: aiohttp.ClientResponse, limit: int) -> bytes:
    """At most `limit` bytes of the body; the rest is left and the connection with it."""
    content = bytearray()
    while len(content) < limit:
        chunk = await answer.content.read(limit - len(content))
        if not chunk:
            break
        content += chunk
    return bytes(content)
