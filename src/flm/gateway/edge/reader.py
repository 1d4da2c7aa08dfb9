"""Reads requests from a byte stream: bytes in, requests out, no I/O.

llhttp in its strict mode does the parsing; what it leaves to its user is done here (each case
with its source in the tests). Bytes are counted before they are fed, because the parser buffers
a header value without any callback, at quadratic cost: a head is fed only when it is complete.
"""

from __future__ import annotations

import io
import re
from typing import Final

import httptools

from flm.errors import Refusal
from flm.gateway.edge.request import Request
from flm.gateway.running import LARGE
from flm.gateway.same_head import SameHead

MAX_HEAD: Final = 64 << 10
MAX_TARGET: Final = 8 << 10
MAX_FIELDS: Final = 100
MAX_LEADING: Final = 16
"""Bytes of blank lines tolerated before a request line (RFC 9112 section 2.2)."""

FRAMING_FIXED: Final = 16 << 10
FRAMING_SHARE: Final = 10
"""A chunked body's framing may take 16 KiB plus a tenth of its payload."""

_PAST: Final = 2
"""The stage of a reader that took a body past its parser."""

_VERSION: Final = re.compile(rb"[^\r\n]* HTTP/([0-9]+)\.([0-9]+)\r?\n")
_END: Final = b"\r\n\r\n"
# Numbers: `in` is ten times faster for one than for bytes.
_SLASH: Final = 0x2F
_HASH: Final = 0x23
_QUESTION: Final = 0x3F


def _bad(message: str, status: int = 400, code: str = "bad_request") -> Refusal:
    # Clients repeat whatever is 5xx; what is not served will not be served the next time either.
    return Refusal(status, code, message, close=True, should_retry=False if status >= 500 else None)


class RequestReader:
    """One connection's requests, one at a time.

    Feed `head` until it returns True, then `body` (when `request.has_body`) until it does, then
    call `next`. Bytes that came too early wait in ``rest``, an unfinished head in ``held``;
    ``complete`` tells that the message has ended.
    """

    __slots__ = (
        "_doubled", "_gathered", "_keep_alive", "_last", "_overrun", "_parser", "_same",
        "_scanned", "_stage", "_url", "_values", "_wire", "body_limit", "chunks", "complete",
        "held", "request", "rest", "size",
    )  # fmt: skip

    def __init__(self) -> None:
        self._parser: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)
        self.held = bytearray()
        self._scanned = 0
        self._same: SameHead | None = None
        self._last: Request | None = None
        self.rest = b""
        self.body_limit = 0
        self._reset()

    def _reset(self) -> None:
        self._url = b""
        self._values: dict[bytes, bytes] = {}
        self._doubled: list[tuple[bytes, bytes]] = []
        self._stage = 0
        self._keep_alive = False
        self.complete = False
        self._overrun = False
        self._wire = 0
        self.size = 0
        self.chunks: list[bytes] = []
        self._gathered: io.BytesIO | None = None
        self.request: Request | None = None

    # Callbacks of the parser: they only note what they are told.

    def on_url(self, url: bytes) -> None:
        """A piece of the target; after a complete message, one of a request that came early."""
        if self.complete:
            self._overrun = True
        else:
            self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header field; trailers come here too, after the head, and are not kept."""
        if self._stage == 0:
            name = name.lower()
            if name in self._values:
                self._doubled.append((name, value))
            else:
                self._values[name] = value

    def on_headers_complete(self) -> None:
        """The head has ended: what comes through `on_header` now are trailers.

        Only here does the parser still know what `Connection` said.
        """
        if self._stage == 0 and self._parser is not None:
            self._stage = 1
            self._keep_alive = self._parser.should_keep_alive()

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        if not self._overrun:
            self.size += len(data)
            self.chunks.append(data)

    def on_message_complete(self) -> None:
        """The message has ended."""
        self.complete = True

    # The head.

    def head(self, data: bytes) -> bool:
        """Take bytes of a head; True when it is complete and `request` is set.

        Raises `Refusal` (400, 405, 414, 426, 431, 501, 505) for what is not served.
        """
        if self.held:
            self.held += data
            start = max(0, self._scanned - 3)
            end = self.held.find(_END, start)
            if end < 0:
                self._scanned = len(self.held)
                self._check_partial(self.held)
                return False
            data = bytes(self.held)
            self.held = bytearray()
            self._scanned = 0
        else:
            if self._same is not None and self._again(data, self._same):
                return True
            end = data.find(_END)
            if end >= 4 and len(data) <= MAX_HEAD and data[0] > 0x0D and self._at_once(data, end):
                return True
        if end < 4 or data[0] <= 0x0D:  # blank lines in front are cut off first
            data = self._without_leading(data)
            end = data.find(_END)
            if end < 0:
                if data:
                    self.held += data
                    self._check_partial(self.held)
                return False
        if end + 4 > MAX_HEAD:
            raise _bad("The request's head is larger than 64 KiB.", 431, "headers_too_large")
        self.rest = data[end + 4 :]
        self._parse(data[: end + 4] if self.rest else data)
        return True

    def _again(self, data: bytes, same: SameHead) -> bool:
        """Take a whole request whose head was read before; what is known of that head stays."""
        body = same.body(data) if len(data) <= MAX_HEAD else None
        request = self._last
        if body is None or request is None:
            return False
        request.length = self.size = len(body)
        self.chunks = [body]
        self.complete = True
        self.request = request
        return True

    def _at_once(self, data: bytes, end: int) -> bool:
        """Feed head and body together, the common case; False when it must be done in steps.

        What is in front of a refusal, an upgrade or a pipelined request is read again from the
        start by a fresh parser, exactly up to where it ends.
        """
        assert self._parser is not None
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._restart()
            return False
        behind = len(data) - end - 4
        if (
            self._overrun
            or self._stage == 0
            or data[:4] == b"PRI "
            # The first bytes of a pipelined request; a chunked body ends with blank lines.
            or (self.complete and behind != self.size and data[-4:] != _END)
        ):
            self._restart()
            return False
        self.request = request = self._checked(self._parser, data)
        if request.chunked:
            self._wire = behind
        elif self.complete and request.length and request.keep_alive:
            self._same = SameHead.of(data, end)
            self._last = request
        return True

    def _restart(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._reset()

    def _without_leading(self, data: bytes) -> bytes:
        stripped = data.lstrip(b"\r\n")
        if len(data) - len(stripped) > MAX_LEADING:
            raise _bad("Blank lines instead of a request.")
        return stripped

    def _check_partial(self, held: bytearray) -> None:
        if len(held) > MAX_HEAD:
            raise _bad("The request's head is larger than 64 KiB.", 431, "headers_too_large")
        if len(held) > MAX_TARGET + 32 and held.find(b"\n", 0, MAX_TARGET + 32) < 0:
            raise _bad("The request's target is longer than 8 KiB.", 414, "uri_too_long")
        if held.find(b"\n\n") >= 0:
            raise _bad("The request's lines must end with CRLF.")

    def _parse(self, head: bytes) -> None:
        upgrade = False
        assert self._parser is not None
        try:
            self._parser.feed_data(head)
        except httptools.HttpParserUpgrade:
            upgrade = True
        except httptools.HttpParserError as error:
            raise self._parse_error(head, error) from error
        if head.startswith(b"PRI "):
            raise _bad("HTTP/2 is not served here.", 505, "http_version_not_supported")
        if self._stage == 0:
            raise _bad("The request's head cannot be read.")
        self.request = self._checked(self._parser, head)
        if upgrade:
            self._upgraded(self.request)

    def _parse_error(self, head: bytes, error: Exception) -> Refusal:
        version = _VERSION.match(head)
        if head.startswith(b"PRI ") or (
            version and (version[1] != b"1" or version[2] not in (b"0", b"1"))
        ):
            return _bad(
                "Only HTTP/1.1 and HTTP/1.0 are served here.", 505, "http_version_not_supported"
            )
        return _bad(f"The request cannot be read as HTTP/1.1: {error}.")

    def _checked(self, parser: httptools.HttpRequestParser, head: bytes) -> Request:
        line = head.find(b"\r\n")
        http10 = False
        if not head.startswith(b" HTTP/1.1\r\n", max(0, line - 9)):
            http10 = self._older(parser)
        url, values = self._url, self._values
        if len(url) > MAX_TARGET:
            raise _bad("The request's target is longer than 8 KiB.", 414, "uri_too_long")
        if len(values) + len(self._doubled) > MAX_FIELDS:
            raise _bad("The request has more than 100 header fields.", 431, "headers_too_large")
        method = parser.get_method()
        if method == b"CONNECT":
            raise _bad("FLM is no forward proxy.", 405, "method_not_allowed")
        if head[len(method) + 1] != _SLASH:  # the parser skips spaces before it
            raise _bad("The request's target must be a path.")
        if _HASH in url:
            raise _bad("The request's target must not hold '#'.")
        request = Request(
            method,
            url.partition(b"?")[0] if _QUESTION in url else url,
            values,
            self._doubled,
            http10,
            self._keep_alive,
        )
        if _QUESTION in url:
            request.query = url.partition(b"?")[2]
        if b"transfer-encoding" in values:
            self._check_coding(request)
        length = values.get(b"content-length")
        if length is not None:
            try:
                request.length = int(length)
            except ValueError as error:  # thousands of leading zeros
                raise _bad("The request's Content-Length cannot be read.") from error
        return request

    def _older(self, parser: httptools.HttpRequestParser) -> bool:
        """Whether it is HTTP/1.0; raises 505 for what is neither that nor 1.1."""
        version = parser.get_http_version()
        if version == "0.9":
            raise _bad("The request line names no version of HTTP.")
        if version not in ("1.0", "1.1"):
            raise _bad(
                "Only HTTP/1.1 and HTTP/1.0 are served here.", 505, "http_version_not_supported"
            )
        return version == "1.0"

    def _check_coding(self, request: Request) -> None:
        if request.http10:
            raise _bad("Transfer-Encoding does not exist in HTTP/1.0.")
        codings = request.all(b"transfer-encoding")
        if len(codings) != 1 or codings[0].lower().strip() != b"chunked":
            raise _bad("Only 'Transfer-Encoding: chunked' is understood.", 501, "not_implemented")
        request.chunked = True

    def _upgraded(self, request: Request) -> None:
        """The parser stopped at an upgrade and will not read the body.

        `h2c` is an offer that may be ignored (RFC 9110 section 7.8; Java's HttpClient sends it
        with every first request): the framing alone is fed to a fresh parser and the request is
        served as HTTP/1.1.
        """
        offers = b",".join(request.all(b"upgrade")).lower()
        if {offer.strip() for offer in offers.split(b",")} - {b"h2c", b""}:
            raise _bad("No upgrade is served here.", 426, "upgrade_not_supported")
        framing = b""
        if request.chunked:
            framing = b"transfer-encoding: chunked\r\n"
        elif request.length is not None:
            framing = b"content-length: %d\r\n" % request.length
        self._parser = httptools.HttpRequestParser(self)
        self.complete = False
        self._parser.feed_data(b"POST / HTTP/1.1\r\nhost: x\r\n" + framing + b"\r\n")
        asked = b",".join(request.all(b"connection")).lower()
        request.keep_alive = not request.http10 and b"close" not in asked

    # The body.

    def body(self, data: bytes) -> bool:
        """Take bytes of the body; True when it is complete (in `chunks`).

        What comes behind a sized body waits in `rest`. Where a chunked body ends the parser does
        not tell: what comes behind it in the same piece is not read, and the connection closes.

        Raises `Refusal` 413 when the payload passes `body_limit` or the framing its share of it,
        and 400 when the framing is broken.
        """
        request, parser = self.request, self._parser
        assert request is not None
        assert parser is not None
        if not request.chunked:
            missing = (request.length or 0) - self.size
            if len(data) > missing:
                self.rest = data[missing:]
                data = data[:missing]
            else:
                self.rest = b""
        else:
            self.rest = b""
            self._wire += len(data)
        try:
            if request.chunked:
                parser.feed_data(data)
            else:  # its bytes need no parser, which would copy them; another one is made for what
                # comes after it
                self._stage = _PAST
                self.on_body(data)
                self.complete = self.size >= (request.length or 0)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self.complete:
                raise _bad(f"The request's body cannot be read: {error}.") from error
            self._overrun = True
        if self.complete and request.chunked and data[-4:] != _END[-len(data) :]:
            self._overrun = True
        if self.size > self.body_limit:
            raise too_large(self.body_limit)
        overhead = self._wire - self.size
        if request.chunked and overhead > FRAMING_FIXED + self.size // FRAMING_SHARE:
            raise _bad("The body's chunk framing outweighs its payload.", 413, "body_too_large")
        if self._overrun:
            request.keep_alive = False
        return self.complete

    def gather(self) -> None:
        """Put what came of a large body so far into one piece that grows: no copy is made at its
        end, and of memory that is new to the process there is one body's worth and not two.
        """
        if self._gathered is None:
            if self.size < LARGE:
                return
            self._gathered = io.BytesIO()
        for chunk in self.chunks:
            self._gathered.write(chunk)
        self.chunks = []

    def drop(self) -> None:
        """Forget what came of the body."""
        self.chunks = []
        self._gathered = None

    def payload(self) -> bytes:
        """The whole body; it is kept no longer."""
        chunks, self.chunks = self.chunks, []
        gathered, self._gathered = self._gathered, None
        if gathered is None:
            return b"".join(chunks)
        for chunk in chunks:
            gathered.write(chunk)
        return gathered.getvalue()

    def next(self) -> bytes:
        """Forget this request; the bytes that came after it."""
        rest = self.rest
        self.rest = b""
        if self._stage == _PAST and self._parser is not None:
            self._restart()
        elif self._stage:
            self._reset()
        else:  # the parser saw nothing of it
            self.complete = False
            self.size = 0
            self.chunks = []
            self.request = None
        return rest

    def close(self) -> None:
        """Break the reference cycle with the parser, so that memory goes at once."""
        self._parser = None
        self._same = self._last = None
        self._reset()


def too_large(limit: int) -> Refusal:
    """The refusal of a body over `limit` bytes."""
    return _bad(
        f"The request's body is larger than {limit >> 20} MiB."
        if limit >= 1 << 20
        else "This route takes no body of that size.",
        413,
        "body_too_large",
    )


def overloaded() -> Refusal:
    """The refusal of a body when all that are held are as many as may be."""
    return Refusal(
        503,
        "overloaded",
        "Too many request bodies are being received.",
        kind="server_error",
        retry_after=2,
        close=True,
    )


def too_slow() -> Refusal:
    """The refusal of a body that trickles."""
    return _bad("The request's body comes too slowly.", 408, "request_timeout")
