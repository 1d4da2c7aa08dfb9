"""The table: path, method, permission, body limit. Nothing else is served.

Authorisation looks at the parsed path of the request line and at nothing else; a route that
names no permission stops the start.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from flm.domain.traits import ClientDialect
from flm.errors import Refusal, StartError

if TYPE_CHECKING:
    from flm.gateway.desk import GatewayDesk
    from flm.gateway.edge.connection import Connection
    from flm.gateway.edge.request import Request
    from flm.gateway.exchange import Exchange

Endpoint = Callable[["Exchange", "Connection", "GatewayDesk"], Awaitable[None]]
Permission = Literal["public", "inference"]
"""public: anybody who reaches the listener; inference: any usable key."""

Content = Literal["json", "multipart"]
"""What kind of body a POST brings."""

_DIALECTS: Final[tuple[tuple[bytes, ClientDialect], ...]] = (
    (b"/v1/messages", "anthropic"),
    (b"/v1/responses", "responses"),
    (b"/api/", "ollama"),
)

PERMISSIONS: Final[frozenset[str]] = frozenset(("public", "inference"))
BODY_LIMIT: Final = 32 << 20
NO_BODY: Final = 64 << 10
"""What a route without a body reads and drops before it refuses."""


@dataclass(frozen=True, slots=True)
class Route:
    """One route. With ``prefix`` the path goes on behind it: what follows is a name.

    ``dialect``: how its clients read errors and streams. ``content``: a body that is `multipart`
    is passed on while it arrives (`Exchange.upload`).
    """

    name: str
    method: bytes
    path: bytes
    permission: Permission
    endpoint: Endpoint
    body_limit: int = NO_BODY
    prefix: bool = False
    journalled: bool = True
    dialect: ClientDialect = "openai"
    content: Content = "json"


def dialect_of(path: bytes) -> ClientDialect:
    """How whoever asks for a decoded path reads errors, whether or not there is such a route."""
    for start, dialect in _DIALECTS:
        if path.startswith(start):
            return dialect
    return "openai"


def tolerated(path: bytes) -> bytes:
    """The path a client meant whose base URL was set with `/v1` too many, or a slash at its end.

    What comes out is looked up like any other: exactly.
    """
    if path.startswith(b"/v1/v1/"):
        path = path[3:]
    return path[:-1] if len(path) > 1 and path.endswith(b"/") else path


def is_preflight(request: Request) -> bool:
    """Whether a browser asks if a page of another origin may ask (Fetch standard, section 3.3)."""
    values = request.values
    return (
        request.method == b"OPTIONS"
        and b"origin" in values
        and b"access-control-request-method" in values
    )


class RouteTable:
    """Looks routes up by method and parsed path."""

    def __init__(self, routes: Sequence[Route], options: Route | None = None) -> None:
        self._options = options
        for route in [*routes, *([options] if options else [])]:
            if route.permission not in PERMISSIONS:
                raise StartError("The route {name} names no permission.", name=route.name)
        self.exact = {(route.method, route.path): route for route in routes if not route.prefix}
        self.prefixes = [route for route in routes if route.prefix]
        self._paths: dict[bytes, list[bytes]] = {}
        for route in routes:
            if not route.prefix:
                self._paths.setdefault(route.path, []).append(route.method)

    def find(self, method: bytes, path: bytes) -> Route:
        """The route for a decoded path. HEAD finds GET's route, OPTIONS its own.

        Raises `Refusal` 404 `not_found` for an unknown path, 405 for another method's.
        """
        route = self.exact.get((method, path))
        if route is None and method == b"HEAD":
            route = self.exact.get((b"GET", path))
        if route is not None:
            return route
        methods = self.methods(path)
        if not methods:
            raise Refusal(404, "not_found", "There is no such route here.")
        if method == b"OPTIONS" and self._options is not None:
            return self._options
        wanted = b"GET" if method == b"HEAD" else method
        for candidate in self.prefixes:
            if candidate.method == wanted and path.startswith(candidate.path):
                return candidate
        raise Refusal(
            405,
            "method_not_allowed",
            "This route does not take that method.",
            headers=((b"allow", self.allow(path)),),
        )

    def asked(self, request: Request, path: bytes) -> Route:
        """The route of a request with that decoded path; a preflight finds OPTIONS anywhere.

        A page that was set up wrongly is no attacker: what it asks next is refused, not this.
        """
        if self._options is not None and is_preflight(request):
            return self._options
        return self.find(request.method, path)

    def methods(self, path: bytes) -> list[bytes]:
        """The methods served on a decoded path; none when there is no such path."""
        methods = list(self._paths.get(path, ()))
        for candidate in self.prefixes:
            if path.startswith(candidate.path) and len(path) > len(candidate.path):
                methods.append(candidate.method)
        return [*methods, b"HEAD"] if b"GET" in methods else methods

    def allow(self, path: bytes) -> bytes:
        """The value of an `Allow` header for a decoded path (RFC 9110 section 10.2.1)."""
        return b", ".join([*self.methods(path), b"OPTIONS"])
