"""The guards, in the order in which they judge a request's head.

Cheap before dear, refusal before work, nothing before the route is known to exist. A guard is a
plain function of (exchange, live) that raises a `Refusal` or returns: testable without a socket.
All of them fail closed. Everything that needs the body comes after them.
"""

from __future__ import annotations

from collections.abc import Callable

from flm.gateway.exchange import Exchange
from flm.gateway.guards.content import content_guard
from flm.gateway.guards.credentials import credentials_guard
from flm.gateway.live import Live

Guard = Callable[[Exchange, Live], None]

AFTER_ROUTE: tuple[Guard, ...] = (credentials_guard, content_guard)
"""The host guard runs before the route is looked up; these run after it."""
