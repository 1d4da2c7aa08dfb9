"""A fake engine whose every byte, close and reset a test decides.

Each connection runs the script the test gave, in a thread of its own with blocking sockets.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
from collections.abc import Callable
from types import TracebackType

from support.replay import Seen, _read_request

SECONDS = 10.0


class EngineSide:
    """One connection, seen from the engine. ``number`` counts connections from 1."""

    def __init__(self, connection: socket.socket, number: int, seen: list[Seen]) -> None:
        self._connection = connection
        self._kept = bytearray()
        self._seen = seen
        self.number = number
        connection.settimeout(SECONDS)

    def request(self) -> Seen | None:
        """The next request; None when the gateway has closed."""
        try:
            request = _read_request(self._connection, self._kept)
        except OSError:
            return None
        if request is not None:
            self._seen.append(request)
        return request

    def read_until(self, mark: bytes) -> bytes:
        """Everything up to and including `mark`, whatever it is part of."""
        looked_at = 0
        while (at := self._kept.find(mark, looked_at)) < 0:
            looked_at = max(0, len(self._kept) - len(mark))
            more = self._connection.recv(1 << 16)
            if not more:
                raise ConnectionResetError(f"the gateway left before {mark!r}")
            self._kept += more
        end = at + len(mark)
        found = bytes(self._kept[:end])
        del self._kept[:end]
        return found

    def rest(self) -> bytes:
        """Everything to the end of the connection."""
        with contextlib.suppress(ConnectionResetError):
            while more := self._connection.recv(1 << 16):
                self._kept += more
        return bytes(self._kept)

    def send(self, data: bytes) -> bool:
        """Send all of `data`; False when the gateway has gone."""
        try:
            self._connection.sendall(data)
        except OSError:
            return False
        return True

    def fin(self) -> None:
        """Close."""
        self._connection.close()

    def rst(self) -> None:
        """Reset."""
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._connection.close()

    def is_left(self) -> bool:
        """Wait until the gateway closes or resets; False when it sends something instead."""
        try:
            return self._connection.recv(1) == b""
        except ConnectionResetError:
            return True


Script = Callable[[EngineSide], None]


class ScriptedEngine:
    """Listens on a free loopback port; a new ``script`` starts on new connections.

    ``seen``: the requests; ``connections``: how many there were.
    """

    def __init__(self, script: Script) -> None:
        self._script = script
        self.seen: list[Seen] = []
        self.connections = 0
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = int(self._listening.getsockname()[1])

    @property
    def script(self) -> Script:
        """What every connection runs."""
        return self._script

    @script.setter
    def script(self, script: Script) -> None:
        self._script = script
        self.hang_up()

    def __enter__(self) -> ScriptedEngine:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._listening.close()
        self.hang_up()

    def hang_up(self) -> None:
        """Close every open connection, idle ones in the gateway's pool among them."""
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections += 1
            self._open.append(connection)
            threading.Thread(
                target=self._run, args=(EngineSide(connection, self.connections, self.seen),),
                daemon=True,
            ).start()  # fmt: skip

    def _run(self, side: EngineSide) -> None:
        try:
            self._script(side)
        except OSError:
            return
        finally:
            side.fin()


# What engines say.


def event(text: str, model: str = "m") -> bytes:
    """One event of a streamed chat."""
    chunk = {
        "id": "c1",
        "object": "chat.completion.chunk",
        "model": model,
        "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}],
    }
    return b"data: " + json.dumps(chunk, ensure_ascii=False).encode() + b"\n\n"


DONE = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
"""How a whole answer ends: why, and that it does."""

STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
)
LAST_CHUNK = b"0\r\n\r\n"


def as_chunk(data: bytes) -> bytes:
    """`data` as one chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def stream_of(*texts: str, model: str = "m") -> bytes:
    """A whole streamed answer, one chunk for each event."""
    events = [*(event(text, model) for text in texts), DONE]
    return STREAM_HEAD + b"".join(as_chunk(each) for each in events) + LAST_CHUNK


def answer_body(text: str = "hello", model: str = "m") -> bytes:
    """The body of a whole chat answer, with usage."""
    answer = {
        "id": "c1",
        "object": "chat.completion",
        "model": model,
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        ],
        "usage": {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8},
    }
    return json.dumps(answer, ensure_ascii=False).encode()


def sized(body: bytes, status: str = "200 OK", *lines: str) -> bytes:
    """A JSON response with its length."""
    extra = "".join(f"{line}\r\n" for line in lines)
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{extra}"
    return head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body


def answering(*responses: bytes) -> Script:
    """A script: on every connection these responses in turn, the last one again and again."""

    def run(side: EngineSide) -> None:
        turn = 0
        while side.request() is not None:
            side.send(responses[min(turn, len(responses) - 1)])
            turn += 1

    return run
