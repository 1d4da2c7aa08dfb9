"""All that is known about one request, from its first byte to its record."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from flm.domain.records import JournalRecord
from flm.domain.traits import ClientDialect
from flm.errors import Refusal

if TYPE_CHECKING:
    from flm.dialects.codec import Usage
    from flm.gateway.edge.request import Request
    from flm.gateway.edge.upload import Upload
    from flm.gateway.outline import Blobs
    from flm.gateway.routes import Route
    from flm.gateway.running import Run

MAX_NAME: Final = 200
"""Characters of a model's or route's name that are kept in a record."""


class ClientGone(Exception):
    """The client closed its connection before its answer was whole."""


class Exchange:
    """One request and what becomes of it.

    ``abort`` ends it from outside, at once and once: the client left, its key was revoked, a
    deadline passed, the gateway leaves. Times are the clock's monotonic seconds. ``codings``: what
    is to be taken off its body; ``blobs``: what was cut out of it (`outline.py`).
    """

    # Defaults on the class: an instance is made for every request and sets few of them.
    request: Request | None = None
    route: Route | None = None
    route_name = ""
    body = b""
    blobs: Blobs | None = None
    upload: Upload | None = None
    key_id = ""
    model = ""
    engine = ""
    api = ""
    details = ""
    dialect: ClientDialect = "openai"
    codings: tuple[str, ...] = ()
    status = 0
    error = ""
    streamed = False
    first_token: float | None = None
    usage: Usage | None = None
    deadline: float | None = None
    aborted: Exception | None = None
    run: Run | None = None
    leaving = False
    on_pause: Callable[[], None] | None = None
    on_resume: Callable[[], None] | None = None
    on_sweep: Callable[[float], None] | None = None

    def __init__(
        self, request_id: bytes, client: str, loopback: bool, arrived: float, started: float
    ) -> None:
        self.id = request_id
        self.client = client
        self.loopback = loopback
        self.arrived = arrived
        self.started = started

    def abort(self, reason: Exception) -> None:
        """End it: its run is cancelled and finds `reason` in ``aborted``."""
        run = self.run
        if self.aborted is None and run is not None and not run.over:
            self.aborted = reason
            run.cancel()

    def failed(self, refusal: Refusal) -> None:
        """Note what the record says of an error."""
        self.status = refusal.status
        self.error = refusal.code

    def record(self, now: float) -> JournalRecord:
        """The record of it, at monotonic time `now`."""
        first, usage = self.first_token, self.usage
        read = None if usage is None else usage.prompt_tokens_details
        written = None if usage is None else usage.completion_tokens_details
        return JournalRecord(
            id=self.id.decode(),
            time=self.arrived,
            key_id=self.key_id,
            model=self.model[:MAX_NAME],
            engine=self.engine,
            route=self.route_name[:MAX_NAME],
            status=self.status,
            error=self.error,
            latency_ms=(now - self.started) * 1000,
            first_token_ms=None if first is None else (first - self.started) * 1000,
            tokens_in=None if usage is None else usage.prompt_tokens,
            tokens_out=None if usage is None else usage.completion_tokens,
            client=self.client,
            streamed=self.streamed,
            cached_tokens=None if read is None else read.cached_tokens,
            reasoning_tokens=None if written is None else written.reasoning_tokens,
            estimated=usage is not None and usage.estimated,
            api=self.api,
            details=self.details,
        )
