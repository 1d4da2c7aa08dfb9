"""Fetching images that requests name by URL, under rules.

Off unless the owner asks for it (`media.fetch`). An image comes from public addresses only: every
address its name has must be one, and the connection goes to one that was looked at, not to what
the name means a moment later. No redirect is followed, nothing of the client's is sent along.
"""

from __future__ import annotations

import asyncio
import base64
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence

from flm.domain.addresses import is_address, is_public
from flm.errors import Refusal
from flm.gateway.media_address import Place, place_of
from flm.gateway.upstream.answer import END, Answer, EngineGone
from flm.gateway.upstream.connection import EngineConnection
from flm.gateway.upstream.secure import SecureEngineConnection, Trust

TOGETHER = 4

_ADDRESSES = 3
_PIECE = 768 << 10  # of base64: whole groups of three bytes
_OK = 200
_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)
_TYPES = frozenset({"image/png", "image/jpeg", "image/jpg", "image/gif", "image/webp"})

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


async def resolved(host: str, port: int) -> Sequence[str]:
    """The addresses of `host`, by the system's resolver. Raises `OSError`."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(each[4][0]) for each in found))


class MediaFetcher:
    """Fetches images, at most `TOGETHER` at a time for the whole gateway.

    ``max_bytes`` says how large one may be; ``resolve`` and ``public`` look names up and judge
    addresses; ``ca_file``: whom to trust, '' the system's authorities.
    """

    def __init__(
        self,
        max_bytes: Callable[[], int],
        *,
        resolve: Resolve = resolved,
        public: Callable[[str], bool] = is_public,
        ports: frozenset[int] = frozenset({80, 443}),
        ca_file: str = "",
    ) -> None:
        self._max_bytes = max_bytes
        self._resolve = resolve
        self._public = public
        self._ports = ports
        self._ca_file = ca_file
        self._trust = Trust()
        self._turns = asyncio.Semaphore(TOGETHER)

    async def fetch(self, url: str, param: str) -> str:
        """The image as a `data:` URL.

        Raises `Refusal` 400: `unsupported_image_url` for what is not fetched at all,
        `image_fetch_failed` for what did not come as an image of a kind that engines take.
        """
        place = place_of(url, self._ports, param)
        async with self._turns:
            for address in (await self._addresses(place, param))[:_ADDRESSES]:
                try:
                    engine = await self._connected(place, address)
                except OSError:
                    continue
                except ValueError:
                    break  # the authorities cannot be read
                return await self._image(engine, place, param)
        raise fetch_failed("its host takes no connection that can be trusted", param)

    async def _addresses(self, place: Place, param: str) -> Sequence[str]:
        if is_address(place.host):
            found: Sequence[str] = (place.host,)
        else:
            try:
                found = await self._resolve(place.host, place.port)
            except (OSError, UnicodeError):
                raise fetch_failed("its host is not known", param) from None
        if not found or not all(self._public(address) for address in found):
            raise Refusal(
                400,
                "unsupported_image_url",
                "This URL of an image is not fetched: its host is not on the public internet.",
                param=param,
            )
        return found

    async def _connected(self, place: Place, address: str) -> EngineConnection:
        loop = asyncio.get_running_loop()
        if not place.tls:
            _, plain = await loop.create_connection(EngineConnection, address, place.port)
            return plain
        context: ssl.SSLContext = self._trust.context(self._ca_file)
        _, secured = await loop.create_connection(
            SecureEngineConnection, address, place.port, ssl=context, server_hostname=place.host
        )
        return secured

    async def _image(self, engine: EngineConnection, place: Place, param: str) -> str:
        collected = _Collected(engine, self._max_bytes())
        answer = Answer(collected.take)
        request = (
            f"GET {place.target} HTTP/1.1\r\nhost: {place.authority}\r\n"
            "accept: image/png, image/jpeg, image/webp, image/gif\r\n"
            "accept-encoding: identity\r\nuser-agent: flm\r\nconnection: close\r\n\r\n"
        )
        try:
            engine.start(request.encode("ascii"), answer)
            await answer.until(END)
        except EngineGone:
            if collected.too_large:
                raise fetch_failed(f"it is larger than {collected.limit} bytes", param) from None
            raise fetch_failed("it broke off", param) from None
        finally:
            answer.release()
            engine.abandon()
        if collected.too_large:
            raise fetch_failed(f"it is larger than {collected.limit} bytes", param)
        return await _data_url(answer, collected.data(), param)


class _Collected:
    """The body as it arrives; the connection ends with the first byte that is too many."""

    def __init__(self, engine: EngineConnection, limit: int) -> None:
        self._engine = engine
        self._pieces: list[bytes] = []
        self._size = 0
        self.limit = limit
        self.too_large = False

    def take(self, data: bytes) -> None:
        """Called by the connection: must not raise."""
        if self.too_large:
            return
        self._size += len(data)
        if self._size > self.limit:
            self.too_large = True
            self._pieces.clear()
            # Not from inside a callback of the parser.
            asyncio.get_running_loop().call_soon(self._engine.fail, "too large")
        else:
            self._pieces.append(data)

    def data(self) -> bytes:
        """All of it."""
        return b"".join(self._pieces)


async def _data_url(answer: Answer, data: bytes, param: str) -> str:
    headers = answer.texts()
    if 300 <= answer.status < 400:
        raise fetch_failed("its host redirects elsewhere, and FLM follows no redirects", param)
    if answer.status != _OK:
        raise fetch_failed(f"its host answers {answer.status}", param)
    if headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise fetch_failed("it comes encoded", param)
    said = headers.get("content-type", "").partition(";")[0].strip().lower()
    kind = _kind(data)
    if said not in _TYPES or kind is None:
        raise fetch_failed("what comes is no PNG, JPEG, GIF or WebP", param)
    encoded = [f"data:{kind};base64,"]
    for at in range(0, len(data), _PIECE):
        if at:
            await asyncio.sleep(0)  # others go on
        encoded.append(base64.b64encode(data[at : at + _PIECE]).decode("ascii"))
    return "".join(encoded)


def _kind(data: bytes) -> str | None:
    for magic, kind in _MAGIC:
        if data.startswith(magic):
            return kind
    return "image/webp" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else None


def fetch_failed(why: str, param: str) -> Refusal:
    """The refusal of an image that did not come: 400 `image_fetch_failed`."""
    return Refusal(
        400, "image_fetch_failed", f"The image could not be fetched: {why}.", param=param
    )
