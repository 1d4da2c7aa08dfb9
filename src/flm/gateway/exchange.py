"""All that is known about one request, from its first byte to its record."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from flm.domain.records import JournalRecord
from flm.errors import Refusal

if TYPE_CHECKING:
    import asyncio

    from flm.gateway.edge.request import Request
    from flm.gateway.routes import Route

MAX_NAME = 200
"""Characters of a model's or route's name that are kept in a record."""


class ClientGone(Exception):
    """The client closed its connection before its answer was whole."""


class Exchange:
    """One request and what becomes of it.

    ``abort`` ends it from outside, at once and once: the client left, its key was revoked, a
    deadline passed, the gateway leaves. Times are the clock's monotonic seconds.
    """

    __slots__ = (
        "aborted", "arrived", "body", "client", "deadline", "engine", "error", "first_token",
        "id", "key_id", "loopback", "model", "on_pause", "on_resume", "request", "route",
        "route_name", "started", "status", "streamed", "task", "tokens_in", "tokens_out",
    )  # fmt: skip

    def __init__(
        self, request_id: str, client: str, loopback: bool, arrived: float, started: float
    ) -> None:
        self.id = request_id
        self.client = client
        self.loopback = loopback
        self.arrived = arrived
        self.started = started
        self.request: Request | None = None
        self.route: Route | None = None
        self.route_name = ""
        self.body = b""
        self.key_id = ""
        self.model = ""
        self.engine = ""
        self.status = 0
        self.error = ""
        self.streamed = False
        self.first_token: float | None = None
        self.tokens_in: int | None = None
        self.tokens_out: int | None = None
        self.deadline: float | None = None
        self.aborted: Exception | None = None
        self.task: asyncio.Task[None] | None = None
        self.on_pause: Callable[[], None] | None = None
        self.on_resume: Callable[[], None] | None = None

    def abort(self, reason: Exception) -> None:
        """End it: its task is cancelled and finds `reason` in ``aborted``."""
        if self.aborted is None and self.task is not None and not self.task.done():
            self.aborted = reason
            self.task.cancel()

    def failed(self, refusal: Refusal) -> None:
        """Note what the record says of an error."""
        self.status = refusal.status
        self.error = refusal.code

    def record(self, now: float) -> JournalRecord:
        """The record of it, at monotonic time `now`."""
        first = self.first_token
        return JournalRecord(
            id=self.id,
            time=self.arrived,
            key_id=self.key_id,
            model=self.model[:MAX_NAME],
            engine=self.engine,
            route=self.route_name[:MAX_NAME],
            status=self.status,
            error=self.error,
            latency_ms=round((now - self.started) * 1000, 3),
            first_token_ms=None if first is None else round((first - self.started) * 1000, 3),
            tokens_in=self.tokens_in,
            tokens_out=self.tokens_out,
            client=self.client,
            streamed=self.streamed,
        )
