"""One connection to an engine: HTTP/1.1 over an asyncio transport, parsed by llhttp."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, cast

import httptools

from flm.gateway.same_head import SameHead
from flm.gateway.upstream.answer import Answer, EngineGone
from flm.gateway.upstream.outbox import Outbox

MAX_INFORMATIONAL: Final = 8
MAX_HEAD: Final = 64 << 10
LONG: Final = 64 << 10
"""A longer request may be answered before it has left; a shorter one is in the kernel by then."""

_LENGTH: Final = b"\r\ncontent-length:"
_BODYLESS: Final = (204, 304)
_HEAD: Final = re.compile(
    rb"http/1\.1 ([2-5]\d\d) [^\r\n\0]*(?:\r\n[!#$%&'*+.^_`|~0-9a-z-]+:[^\r\n\0]*)+"
).fullmatch
"""A final status line and well-formed fields (RFC 9112 sections 4 and 5), in lower case."""
_CLOSES: Final = re.compile(rb"\nconnection:(?! keep-alive(?:\r|\Z))").search
"""A Connection field that says anything else than `keep-alive`."""


class EngineConnection(asyncio.Protocol):
    """Sends a request and reports the answer to an `Answer`, one at a time.

    ``reusable`` after an answer only if it ended cleanly with nothing behind it. ``full``: the
    engine takes less than it is sent; ``on_drained`` is called when it has caught up. With an
    `Outbox` a request leaves at the end of the loop's turn, with those of other connections. A
    large body leaves a piece in a turn of the loop, and no faster than the engine takes it.
    """

    __slots__ = (
        "_answer", "_chunk_over", "_ended", "_express", "_framed", "_head_bytes", "_headed",
        "_headers", "_held", "_informational", "_interim", "_long", "_outbox", "_parser", "_pieces",
        "_same", "_same_code", "_same_head", "_transport",
        "full", "idle_since", "on_drained", "open", "reusable", "reused",
    )  # fmt: skip

    def __init__(self, outbox: Outbox | None = None) -> None:
        self._answer: Answer | None = None
        self._outbox = outbox
        self._held = b""
        self._unread()
        self._same: SameHead | None = None
        self._same_code = 0
        self._same_head = b""
        self._long = False
        self._pieces: deque[bytes | memoryview] | None = None
        self.full = False
        self.on_drained: Callable[[], None] | None = None
        self.open = True
        self.reusable = False
        self.reused = False
        self.idle_since = 0.0

    def _unread(self) -> None:
        """Nothing of an answer has gone through a parser yet."""
        self._parser: httptools.HttpResponseParser | None = None
        self._headers: dict[bytes, bytes] = {}
        self._express: Callable[[bytes], bool] | None = None
        self._chunk_over = False
        self._ended = False
        self._framed = False
        self._headed = False
        self._interim = False
        self._informational = 0
        self._head_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected."""
        self._transport = cast("asyncio.Transport", transport)

    def start(
        self, request: bytes, answer: Answer, body: Iterable[bytes | memoryview] | None = None
    ) -> None:
        """Send `request` and report what comes back to `answer`; `body`: a large one, in pieces."""
        self._answer = answer
        self.reusable = False
        self._long = body is not None or len(request) > LONG
        if self._outbox is not None and not self._long:
            self._held = request
            self._outbox.add(self)
            return
        self._transport.write(request)
        if body is not None:
            self._pieces = deque(body)
            self._send_piece()

    def _send_piece(self) -> None:
        pieces = self._pieces
        if not pieces or not self.open:
            return
        self._transport.write(pieces.popleft())
        if pieces and not self.full:
            asyncio.get_running_loop().call_soon(self._send_piece)

    def send_held(self) -> None:
        """Send the request that was started, unless it is gone or was given up since."""
        held, self._held = self._held, b""
        if held and self.open:
            self._transport.write(held)

    def send(self, data: bytes) -> None:
        """A further piece of the request that was started."""
        if self._held:
            self.send_held()
        if self.open:
            self._transport.write(data)

    def pause_writing(self) -> None:
        """The engine takes less than it is sent."""
        self.full = True

    def resume_writing(self) -> None:
        """The engine has caught up."""
        self.full = False
        if self._pieces:
            self._send_piece()
        if self.on_drained is not None:
            self.on_drained()

    def data_received(self, data: bytes) -> None:
        """Bytes of the answer; bytes nobody asked for end the connection."""
        express = self._express
        if express is not None and express(data):
            return
        answer = self._answer
        if answer is None or self._held:
            self.fail("the engine spoke before it was asked")
            return
        parser = self._parser
        if parser is None:
            if self._whole(data, answer):
                return
            answer.touched = True
            parser = self._parser = httptools.HttpResponseParser(self)
        if not self._headed:
            self._head_bytes += len(data)
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.fail("the engine switched protocols")
            return
        except httptools.HttpParserError as error:
            if not self._ended:
                self.fail(f"the engine's answer cannot be read: {error}")
                return
            self.reusable = False
        if self._ended:
            self._finish()
        elif self._headed:
            express = answer.express
            # Between two chunks? Of the next one's line the parser says nothing: it would stand
            # behind this line end, and none ends so.
            if express is not None and not (self._chunk_over and data.endswith(b"\n\r\n")):
                express = None
            self._express = express
        elif self._head_bytes > MAX_HEAD:
            self.fail("the engine's answer has no end of its head")

    def _whole(self, data: bytes, answer: Answer) -> bool:
        """Take a sized answer that came in one piece, head and body; False if it is anything else.

        Most whole answers do, and reading them so costs a fifth of a parser's way (measured: a
        tenth of all that a request costs). Nothing is guessed: one Content-Length that is met
        exactly, no Transfer-Encoding, no Connection but keep-alive, a final status.
        """
        same = self._same
        body = None if same is None else same.body(data)
        if body is None:
            body = self._read_whole(data)
            if body is None:
                return False
        self._answer = None
        self.reusable = not (self._long and self._unsent())
        answer.on_whole(self._same_code, self._same_head, body)
        return True

    def _read_whole(self, data: bytes) -> bytes | None:
        """The body of such an answer, whose head is remembered; None if it is anything else."""
        end = data.find(b"\r\n\r\n")
        if end < 0 or data[:9] != b"HTTP/1.1 ":
            return None
        head = data[:end].lower()
        read = _HEAD(head)
        at = head.find(_LENGTH)
        if (
            read is None
            or at < 0
            or head.find(_LENGTH, at + 2) >= 0
            or _CLOSES(head) is not None
            or head.find(b"\ntransfer-encoding") >= 0
        ):
            return None
        size = b"%d" % (len(data) - end - 4)
        if head[at + len(_LENGTH) :].partition(b"\r")[0].strip(b" \t") != size:
            return None
        code = int(read[1])
        if code in _BODYLESS:
            return None
        self._same = SameHead.of(data, end)
        self._same_code = code
        self._same_head = data[:end]
        return data[end + 4 :]

    # Callbacks of the parser.

    def on_message_begin(self) -> None:
        """A message starts; one behind the end makes the connection unfit for another."""
        if self._ended:
            self.reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header or a trailer."""
        if not self._ended:
            self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """The head is there; a 1xx is not the end of it."""
        parser, answer = self._parser, self._answer
        if self._ended or parser is None or answer is None:
            return
        status = parser.get_status_code()
        self._interim = 100 <= status < 200
        if not self._interim:
            headers = self._headers
            self._framed = b"content-length" in headers or b"transfer-encoding" in headers
            self._headed = True
            answer.on_head(status, headers)
        self._headers = {}

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        self._chunk_over = False
        answer = self._answer
        if self._ended or answer is None:
            return
        if answer.sink is not None:
            answer.sink(data)
        else:
            answer.early.append(data)

    def on_chunk_complete(self) -> None:
        """A chunk has ended, the line end behind it included."""
        self._chunk_over = True

    def on_message_complete(self) -> None:
        """The message has ended, unless it was a 1xx."""
        if self._interim:
            self._interim = False
            self._informational += 1
            if self._informational > MAX_INFORMATIONAL:
                raise ValueError("too many interim answers")
            return
        if not self._ended and self._parser is not None:
            self._ended = True
            self.reusable = self._parser.should_keep_alive()

    # Ends.

    def _let_go(self) -> Answer | None:
        """The answer that was read; what comes now is nobody's."""
        answer, self._answer = self._answer, None
        self._unread()
        return answer

    def _finish(self) -> None:
        answer = self._let_go()
        if not self.reusable or (self._long and self._unsent()):
            self.close()
        if answer is not None:
            answer.on_end()

    def _unsent(self) -> bool:
        """Whether the engine answered before it had the whole request; it may never read on."""
        return bool(self._pieces) or self._transport.get_write_buffer_size() > 0

    def fail(self, reason: str) -> None:
        """Close, and tell who waits for the answer that it will not come."""
        answer = self._let_go()
        self.close()
        if answer is not None:
            answer.on_failed(EngineGone(reason, untouched=not answer.touched, reused=self.reused))

    def connection_lost(self, error: Exception | None) -> None:
        """The engine closed, or we did. Without length and chunks that is how a body ends."""
        self.open = False
        self.reusable = False
        answer = self._answer
        if answer is not None and error is None and self._headed and not self._framed:
            self._finish()
            return
        self.fail(str(error) if error is not None else "the engine closed the connection")

    def close(self) -> None:
        """Close at once: an engine stops generating when its client has gone."""
        self.reusable = False
        self._pieces = None
        if self.open:
            self.open = False
            self._transport.abort()

    def abandon(self) -> None:
        """Close and report to nobody any more."""
        self._let_go()
        self.close()

    def pause(self) -> None:
        """The client is slower than the engine: read nothing more for now."""
        if self.open:
            self._transport.pause_reading()

    def resume(self) -> None:
        """Go on reading."""
        if self.open:
            self._transport.resume_reading()
