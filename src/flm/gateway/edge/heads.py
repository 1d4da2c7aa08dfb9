"""Response heads, built from bytes that rarely change."""

from __future__ import annotations

from email.utils import formatdate
from http import HTTPStatus
from typing import Final

from flm.errors import Refusal

REASONS: Final = {status.value: status.phrase.encode() for status in HTTPStatus}
JSON: Final = b"application/json"
SSE: Final = b"text/event-stream; charset=utf-8"

_STANDING: Final = b"x-content-type-options: nosniff\r\ncache-control: no-store\r\n"


class Heads:
    """Builds heads; `tick` renews the `date` once a second."""

    def __init__(self, now: float) -> None:
        self._lead: dict[int, bytes] = {}
        self._date = b""
        self._second = -1
        self.tick(now)

    def tick(self, now: float) -> None:
        """Note the time (UTC seconds)."""
        second = int(now)
        if second != self._second:
            self._second = second
            self._date = b"date: " + formatdate(second, usegmt=True).encode() + b"\r\n" + _STANDING
            self._lead.clear()

    def lead(self, status: int) -> bytes:
        """The status line, the date and the headers every response has."""
        found = self._lead.get(status)
        if found is None:
            reason = REASONS.get(status, b"Unknown")
            found = b"HTTP/1.1 %d %b\r\n%b" % (status, reason, self._date)
            self._lead[status] = found
        return found

    def sized(
        self, status: int, kind: bytes, request_id: bytes, length: int, extra: bytes
    ) -> bytes:
        """The head of an answer of known length. `extra` holds whole header lines."""
        return b"%bcontent-type: %b\r\nx-request-id: %b\r\n%bcontent-length: %d\r\n\r\n" % (
            self._lead.get(status) or self.lead(status),
            kind,
            request_id,
            extra,
            length,
        )

    def bodiless(self, status: int, request_id: bytes, extra: bytes) -> bytes:
        """The whole of an answer that has no body by its status: 204 (RFC 9110 section 8.6)."""
        return b"%bx-request-id: %b\r\n%b\r\n" % (self.lead(status), request_id, extra)

    def streamed(self, kind: bytes, request_id: bytes, extra: bytes) -> bytes:
        """The head of a stream; `extra` says how it is framed."""
        return b"%bcontent-type: %b\r\nx-accel-buffering: no\r\nx-request-id: %b\r\n%b\r\n" % (
            self.lead(200),
            kind,
            request_id,
            extra,
        )


def also_named(request_id: bytes) -> bytes:
    """The id under the name that Anthropic's SDKs read, beside the one all answers have."""
    return b"request-id: %b\r\n" % request_id


def extra_of(refusal: Refusal) -> bytes:
    """The header lines a refusal brings along."""
    lines = b"".join(b"%b: %b\r\n" % header for header in refusal.headers)
    if refusal.retry_after is not None:
        lines += b"retry-after: %d\r\n" % refusal.retry_after
    if refusal.should_retry is not None:
        lines += b"x-should-retry: %b\r\n" % (b"true" if refusal.should_retry else b"false")
    return lines
