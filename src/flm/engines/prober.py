"""Plain HTTP questions to engines, by aiohttp (imported with the first question).

No proxies from the environment, no redirects, no cookies, no compression, one connection for
each question, and a cap on what is read: what answers may be anything. Certificates are always
verified, against the system's authorities or those in the address's own file.
"""

from __future__ import annotations

import asyncio
import errno
import ssl
from typing import TYPE_CHECKING

from flm.domain.addresses import UNKNOWN_NAME, UNTRUSTED, is_address
from flm.domain.engines import Address
from flm.errors import N_
from flm.ports.clock import Clock
from flm.ports.engines import NO_ANSWER, Probe
from flm.ports.names import NameRefused, Names

if TYPE_CHECKING:
    import aiohttp


_REASONS = (
    N_("connection refused"),
    N_("no TLS is spoken there"),
    N_("it cannot be reached"),
    N_("closed the connection without an answer"),
    N_("no whole HTTP answer"),
    N_("its CA file cannot be read"),
)
REFUSED, NO_TLS, UNREACHABLE, CLOSED, NOT_WHOLE, NO_CA_FILE = _REASONS


_TO_CONNECT = 0.8
"""The share of a question's time after which no connection means that none will come."""


class HttpProber:
    """Implements `flm.ports.engines.Prober`. Holds nothing open between questions.

    ``names`` tells where names lead, the same for requests; None: the system is asked each time.
    """

    def __init__(self, clock: Clock, names: Names | None = None) -> None:
        self._clock = clock
        self._names = names

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
            verified = await _verification(address)
        except (OSError, ValueError):
            return self._failed(started, NO_CA_FILE)
        at: str | None = None
        try:
            async with asyncio.timeout(seconds):
                at = await self._located(address)
                async with (
                    _session(at, seconds * _TO_CONNECT) as session,
                    session.request(
                        method,
                        address.url + path,
                        data=body,
                        headers=headers,
                        allow_redirects=False,
                        ssl=verified,
                    ) as answer,
                ):
                    content = await _read(answer, limit)
        except NameRefused as error:
            return self._failed(started, error.reason)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            if self._names is not None and at:
                self._names.distrust(address.host, at)
            return self._failed(started, _unconnected(error))
        except TimeoutError:
            return self._failed(started, UNKNOWN_NAME if at is None else NO_ANSWER)
        except aiohttp.ServerDisconnectedError:
            return self._failed(started, CLOSED)
        except (aiohttp.ClientError, OSError, ValueError):
            # ValueError: a key that fits into no header, a port aiohttp does not take
            return self._failed(started, NOT_WHOLE)
        fields = {name.lower(): value for name, value in answer.headers.items()}
        return Probe(
            status=answer.status, headers=fields, body=content, latency_ms=self._since(started)
        )

    async def _located(self, address: Address) -> str:
        """The IP address to connect to; '' where the system is to look. Raises `NameRefused`."""
        if self._names is None or is_address(address.host):
            return ""
        return await self._names.address(address.host)

    def _failed(self, started: float, why: str) -> Probe:
        return Probe(status=0, headers={}, body=b"", latency_ms=self._since(started), error=why)

    def _since(self, started: float) -> float:
        return (self._clock.monotonic() - started) * 1000


async def _verification(address: Address) -> ssl.SSLContext | bool:
    """How its certificate is checked; True: by the system's authorities.

    The file is read at every look: a renewed authority needs no restart. In a thread, as it is a
    file of anybody's choice. Raises `OSError` (`ssl.SSLError` too) and `ValueError` for a bad one.
    """
    if not address.tls or not address.ca_file:
        return True
    return await asyncio.to_thread(ssl.create_default_context, cafile=address.ca_file)


def _unconnected(error: aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError) -> str:
    import aiohttp

    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return NO_ANSWER
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return UNKNOWN_NAME
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return UNTRUSTED
    if isinstance(error, aiohttp.ClientSSLError):
        return NO_TLS
    # Linux says "refused" by number; where several addresses failed there is no number
    silent = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EADDRNOTAVAIL)
    return UNREACHABLE if error.os_error.errno in silent else REFUSED


def _session(at: str, connect: float) -> aiohttp.ClientSession:
    """A session for one question, to the IP address `at` whatever the URL's name ('': by it),
    with so many seconds to connect.
    """
    import aiohttp

    from flm.engines.lookups import PinnedResolver

    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            force_close=True, use_dns_cache=False, resolver=PinnedResolver(at) if at else None
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect),
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
