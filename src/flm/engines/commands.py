"""Requests that change something at an engine, whole or line by line.

`HttpProber` never raises, because a look at an engine must not fail; who asked for a change must
hear why it was not made. No proxies, no redirects, one connection for each request.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NoReturn

import msgspec

from flm.domain.engines import Address
from flm.engines.answers import decoded
from flm.errors import N_, EngineError, FlmError, NotFound, UserError

if TYPE_CHECKING:
    import aiohttp

CONNECT_SECONDS = 10.0
_MOST = 1 << 20
_SAID = 500

_FULL = ("no space left", "not enough space", "disk full", "enospc", "insufficient disk")


class Reply(msgspec.Struct, frozen=True):
    """What an engine answered: at most 1 MiB of it."""

    status: int
    body: bytes

    @property
    def fault(self) -> str:
        """The error it says, also one inside a 200; '' when it says none."""
        said = fault_in(self.body)
        if said or self.status < 400:
            return said
        return self.body.decode("utf-8", "replace").strip()[:_SAID] or f"HTTP {self.status}"


class Commands:
    """Sends commands to engines. Raises `UserError` (`engine_unreachable`) when none answers."""

    async def send(
        self,
        method: str,
        address: Address,
        path: str,
        *,
        body: object = None,
        key: str | None = None,
        seconds: float = 30.0,
    ) -> Reply:
        """The whole answer; `seconds` of silence are too long."""
        async with _asked(method, address, path, body, key, seconds) as answer:
            content = bytearray()
            while len(content) < _MOST and (piece := await answer.content.read(1 << 16)):
                content += piece
            return Reply(answer.status, bytes(content[:_MOST]))

    async def lines(
        self,
        method: str,
        address: Address,
        path: str,
        *,
        body: object = None,
        key: str | None = None,
        seconds: float = 900.0,
    ) -> AsyncGenerator[Reply, None]:
        """The lines of the answer as they come; one that is no success comes as one whole line.

        Leaving the loop closes the connection, which ends what the engine was doing for it.
        """
        async with _asked(method, address, path, body, key, seconds) as answer:
            if answer.status >= 400:
                yield Reply(answer.status, await answer.content.read(_MOST))
                return
            while line := await answer.content.readline():
                if line.strip():
                    yield Reply(answer.status, line)


class _Worded(msgspec.Struct):
    message: str


class _Faulty(msgspec.Struct):
    error: str | _Worded | None = None
    detail: str | None = None


def fault_in(body: bytes) -> str:
    """The error that a JSON body says (`error` as text or object, or `detail`), else ''."""
    found = decoded(body, _Faulty)
    if found is None:
        return ""
    said = found.error if found.error is not None else found.detail
    return (said.message if isinstance(said, _Worded) else said or "")[:_SAID]


def refused(reply: Reply, model: str) -> FlmError:
    """The error for a command about `model` that an engine did not obey."""
    said = reply.fault
    lowered = said.lower()
    if reply.status in (401, 403):
        return UserError(
            N_("The engine wants a key, or another one."),
            remedy=N_("Store it with `flm engines set-key NAME`."),
            code="needs_key",
        )
    if any(words in lowered for words in _FULL):
        return UserError(
            N_("The disk is full: the engine says {why!r}."),
            remedy=N_("Make room, then run the command again."),
            code="disk_full",
            why=said,
        )
    if reply.status == 404 or ("model" in lowered and "not found" in lowered):
        return no_model(model)
    return EngineError(502, "engine_error", f"The engine answered: {said or 'nothing of use'}")


def no_model(model: str) -> NotFound:
    """The error for a model that an engine does not have."""
    return NotFound(
        N_("The engine has no model {model}."),
        remedy=N_("`flm models list` shows what there is."),
        model=model,
    )


@asynccontextmanager
async def _asked(
    method: str, address: Address, path: str, body: object, key: str | None, seconds: float
) -> AsyncGenerator[aiohttp.ClientResponse, None]:
    import aiohttp
    from aiohttp.http_exceptions import HttpProcessingError

    from flm.engines.lookups import WaryResolver

    headers = {"Accept-Encoding": "identity"}
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    data = None
    if body is not None:
        headers["Content-Type"] = "application/json"
        data = msgspec.json.encode(body)
    try:
        async with (
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    force_close=True,
                    use_dns_cache=False,
                    resolver=WaryResolver(),
                    ssl=await _verification(address),
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=CONNECT_SECONDS, sock_read=seconds
                ),
            ) as session,
            session.request(
                method, address.url + path, data=data, headers=headers, allow_redirects=False
            ) as answer,
        ):
            yield answer
    except TimeoutError:
        _unreachable(N_("The engine at {url} says nothing any more."), address)
    except aiohttp.ClientConnectorError:
        _unreachable(N_("Nothing answers at {url}."), address)
    except (aiohttp.ClientError, HttpProcessingError, OSError, ValueError):
        # HttpProcessingError: a line beyond all bounds; ValueError: a key that fits no header
        _unreachable(N_("The connection to the engine at {url} broke."), address)


async def _verification(address: Address) -> ssl.SSLContext | bool:
    """How its certificate is checked: by the system's authorities, or those in its own file."""
    if not address.tls or not address.ca_file:
        return True
    return await asyncio.to_thread(ssl.create_default_context, cafile=address.ca_file)


def _unreachable(template: str, address: Address) -> NoReturn:
    raise UserError(
        template,
        remedy=N_("See with `flm engines list` whether it runs, then try again."),
        code="engine_unreachable",
        url=address.url,
    )
