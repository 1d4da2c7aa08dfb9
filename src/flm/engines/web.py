"""GETs out into the web, by aiohttp: redirects, proxies, and what a failure means.

Not for engines: those are asked by `flm.engines.prober`, which follows nothing and trusts nobody.
"""

from __future__ import annotations

import contextlib
import ipaddress
import urllib.parse
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING

from flm.errors import N_, InvalidValue, UserError

if TYPE_CHECKING:
    import ssl

    import aiohttp

REDIRECTS = 5
_MOVED = frozenset({301, 302, 303, 307, 308})
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})

CONNECT_SECONDS = 30.0
SILENT_SECONDS = 60.0


NO_ANSWER_IN_TIME = N_("no answer in time")
CLOSED = N_("the connection was closed without an answer")
ENDED_EARLY = N_("the connection ended too early")
CHANGED = N_("the file has changed meanwhile")
STATUS = N_("the server answered HTTP {status}")


class LineDropped(Exception):
    """The connection failed or the server was not able just now: worth another try.

    ``why``: the reason, an error where it can be told in the reader's language, else the system's
    own words; ``after``: the seconds the server asked for, 0 when it did not.
    """

    def __init__(self, why: UserError | str, after: float = 0.0) -> None:
        super().__init__(str(why))
        self.why = why
        self.after = after


class Web:
    """Opens GETs. Keeps nothing open between them.

    ``environ``: the environment, for `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy`;
    loopback addresses are never asked through a proxy. ``ssl_context``: None trusts what the
    system trusts.
    """

    def __init__(
        self, environ: Mapping[str, str], ssl_context: ssl.SSLContext | None = None
    ) -> None:
        self._proxies = proxies(environ)
        self._ssl = ssl_context

    @contextlib.asynccontextmanager
    async def get(
        self, url: str, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer to a GET of `url`, at most `REDIRECTS` redirects further.

        Its status is 2xx or 416. Raises `LineDropped` for what may go better soon, `UserError`
        for an answer that will stay as it is, `InvalidValue` for a URL that is none.
        """
        async with self._session() as session:
            answer = await self._follow(session, url, dict(headers or {}))
            try:
                yield answer
            except _dropped() as error:
                raise LineDropped(_reason(error)) from error
            finally:
                answer.close()

    async def _follow(
        self, session: aiohttp.ClientSession, url: str, headers: dict[str, str]
    ) -> aiohttp.ClientResponse:
        place = checked(url)
        for _ in range(REDIRECTS + 1):
            answer = await self._ask(session, place, headers)
            if answer.status not in _MOVED:
                _judge(answer, place)
                return answer
            to = answer.headers.get("Location", "")
            answer.close()
            place = _next(place, to)
        raise UserError(
            N_("{url} leads from one address to the next without an end."),
            remedy=N_("Check the URL."),
            code="too_many_redirects",
            url=shown(url),
        )

    async def _ask(
        self, session: aiohttp.ClientSession, place: str, headers: dict[str, str]
    ) -> aiohttp.ClientResponse:
        proxy = self._proxies.of(place)
        try:
            return await session.get(
                place,
                headers={"Accept-Encoding": "identity", **headers},
                allow_redirects=False,
                proxy=proxy,
            )
        except _untrusted() as error:
            detail = getattr(error, "certificate_error", error)
            raise UserError(
                N_("The certificate of {url} is not trusted: {reason}."),
                remedy=N_("Set SSL_CERT_FILE to a file with the certificate authority's own."),
                code="certificate_not_trusted",
                url=shown(place),
                reason=getattr(detail, "verify_message", "") or type(detail).__name__,
            ) from error
        except _by_proxy() as error:
            raise UserError(
                N_("The proxy {proxy} does not lead to {url}: HTTP {status}."),
                remedy=N_("Check https_proxy, and whether it wants a user name; or set no_proxy."),
                code="proxy_refused",
                proxy=shown(proxy or ""),
                url=shown(place),
                status=getattr(error, "status", 0),
            ) from error
        except ValueError as error:  # a host or a port that aiohttp does not take
            raise not_a_url(place) from error
        except _dropped() as error:
            raise LineDropped(_reason(error)) from error

    def _session(self) -> aiohttp.ClientSession:
        import aiohttp

        connector = aiohttp.TCPConnector(
            force_close=True, use_dns_cache=False, ssl=self._ssl if self._ssl is not None else True
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,  # it would read netrc too, and send what stands there
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENT_SECONDS
            ),
        )


class Proxies:
    """Which proxy a URL is asked through."""

    def __init__(self, by_scheme: Mapping[str, str]) -> None:
        self._by_scheme = dict(by_scheme)

    def of(self, url: str) -> str | None:
        """The proxy for `url`, None to ask it directly. Raises `InvalidValue` for other kinds."""
        parts = urllib.parse.urlsplit(url)
        host = parts.hostname or ""
        proxy = self._by_scheme.get(parts.scheme) or self._by_scheme.get("all")
        if not proxy or is_loopback(host) or self._is_excepted(host, parts.port):
            return None
        if "://" not in proxy:
            proxy = f"http://{proxy}"
        if urllib.parse.urlsplit(proxy).scheme not in ("http", "https"):
            raise InvalidValue(
                N_("The proxy {proxy} is of a kind FLM cannot use for downloads."),
                remedy=N_("Set https_proxy to an HTTP proxy, or no_proxy to the host's name."),
                proxy=shown(proxy),
            )
        return proxy

    def _is_excepted(self, host: str, port: int | None) -> bool:
        """Whether `no_proxy` names the host, its domain, or the host with this port."""
        for entry in self._by_scheme.get("no", "").lower().split(","):
            name = entry.strip().removeprefix("*.").lstrip(".")
            if name == "*" or (name and name in (host, f"{host}:{port}")):
                return True
            if name and host.endswith(f".{name}"):
                return True
        return False


def proxies(environ: Mapping[str, str]) -> Proxies:
    """The proxies that an environment names; where both are set, the lower case counts."""
    found = {}
    for scheme in ("http", "https", "all", "no"):
        name = f"{scheme}_proxy"
        value = environ.get(name) or environ.get(name.upper())
        if value:
            found[scheme] = value
    return Proxies(found)


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def checked(url: str) -> str:
    """`url` without its fragment. Raises `InvalidValue` unless it is HTTP or HTTPS with a host."""
    try:
        parts = urllib.parse.urlsplit(url)
        fine = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fine = False
    if not fine or not url.isprintable():
        raise not_a_url(url)
    return urllib.parse.urldefrag(url).url


def shown(url: str) -> str:
    """`url` as it may be told to people: without a password or a token in it."""
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError:
        return "?"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def not_a_url(url: str) -> InvalidValue:
    """The error for something that cannot be fetched."""
    return InvalidValue(
        N_("{url} is no URL that can be downloaded."),
        remedy=N_("Give one that starts with https:// or http://."),
        url=shown(url),
    )


def _next(place: str, to: str) -> str:
    """Where a redirect from `place` leads."""
    try:
        new = checked(urllib.parse.urljoin(place, to)) if to else ""
    except (InvalidValue, ValueError):
        new = ""
    if not new or (place.startswith("https:") and not new.startswith("https:")):
        raise UserError(
            N_("{url} leads to an address that is not followed: {to}"),
            remedy=N_("Check the URL; from https:// FLM goes to no http://."),
            code="redirect_refused",
            url=shown(place),
            to=shown(to),
        )
    return new


def _judge(answer: aiohttp.ClientResponse, place: str) -> None:
    if 200 <= answer.status < 300 or answer.status == 416:
        return
    answer.close()
    if answer.status in _PASSING:
        after = _seconds(answer.headers.get("Retry-After", ""))
        raise LineDropped(UserError(STATUS, status=answer.status), after)
    if answer.status in (404, 410):
        raise UserError(
            N_("There is nothing at {url}."),
            remedy=N_("Check the address and the version."),
            code="download_not_found",
            url=shown(place),
        )
    raise refused(place, answer.status)


def refused(url: str, status: int) -> UserError:
    """The error for an answer that will stay as it is."""
    return UserError(
        N_("{url} was refused: HTTP {status}."),
        remedy=N_("Check the address, and whether it wants you to sign in."),
        code="download_refused",
        url=shown(url),
        status=status,
    )


def _seconds(header: str) -> float:
    """`Retry-After` in seconds; a date counts as nothing said."""
    return float(header) if header.isascii() and header.isdigit() and len(header) < 6 else 0.0


def _dropped() -> tuple[type[BaseException], ...]:
    import aiohttp

    return (aiohttp.ClientError, TimeoutError, ConnectionError)


def _untrusted() -> tuple[type[BaseException], ...]:
    import aiohttp

    return (aiohttp.ClientConnectorCertificateError,)


def _by_proxy() -> tuple[type[BaseException], ...]:
    import aiohttp

    return (aiohttp.ClientHttpProxyError,)


def _reason(error: BaseException) -> UserError | str:
    """One line about what failed, without the request's own address in it."""
    import aiohttp

    if isinstance(error, TimeoutError):
        return UserError(NO_ANSWER_IN_TIME)
    if isinstance(error, aiohttp.ClientConnectorError):
        return error.strerror or type(error.os_error).__name__
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return UserError(CLOSED)
    if isinstance(error, aiohttp.ClientPayloadError | ConnectionError):
        return UserError(ENDED_EARLY)
    return type(error).__name__
