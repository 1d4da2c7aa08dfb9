"""A fake engine that is a real HTTP server: it answers with recorded bytes.

It runs in a thread of its own with blocking sockets, so that it is in nobody's event loop. An
answer may be cut, delayed, or sent in pieces split at any position.
"""

from __future__ import annotations

import contextlib
import itertools
import select
import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType

from flm.domain.engines import Address

TRANSCRIPTS = Path(__file__).parent / "transcripts"

NOT_FOUND = (
    b"HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: 21\r\n\r\n"
    b'{"error":"not found"}'
)


@dataclass(frozen=True)
class Answer:
    """What is sent for a request.

    ``split``: the positions at which a new piece (a new TCP segment) begins; ``cut``: only so
    many bytes are sent, then the connection is reset (``reset``) or closed; ``hold``: wait for
    this event before the first byte; ``hold_at``: send the bytes before this position, then wait
    for ``resume``; ``close``: close after the answer (else keep the connection, as its bytes say);
    ``half_close``: no more is sent after it, but the connection stays until the client leaves.
    """

    data: bytes
    split: tuple[int, ...] = ()
    cut: int | None = None
    reset: bool = False
    hold: threading.Event | None = None
    hold_at: int | None = None
    resume: threading.Event | None = None
    close: bool = False
    half_close: bool = False


@dataclass(frozen=True)
class Seen:
    """A request as it arrived: header names in lower case, the body whole."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


Reply = bytes | Answer | Callable[[Seen], "bytes | Answer"]


def recorded(folder: str, name: str) -> bytes:
    """The raw response in `tests/support/transcripts/<folder>/<name>.response.http`."""
    return (TRANSCRIPTS / folder / f"{name}.response.http").read_bytes()


def response(
    body: bytes | str,
    status: str = "200 OK",
    content_type: str = "application/json",
    headers: Mapping[str, str] | None = None,
) -> bytes:
    """A response with that body and its length."""
    data = body.encode() if isinstance(body, str) else body
    fields = {"Content-Type": content_type, "Content-Length": str(len(data)), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + data


@dataclass
class ReplayServer:
    """Listens on a free loopback port and answers ``routes``: (method, path without query).

    A path of '*' answers every path of that method. What is in no route is a 404 in JSON.
    ``seen`` holds what arrived, ``disconnected`` is set when a client leaves while it is being
    answered. Use it as a context manager.
    """

    routes: dict[tuple[str, str], Reply] = field(default_factory=dict)
    host: str = "127.0.0.1"
    port: int = 0
    seen: list[Seen] = field(default_factory=list)
    disconnected: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self._listening = socket.socket(family, socket.SOCK_STREAM)
        self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listening.bind((self.host, self.port))
        self._listening.listen(512)
        self.port = self._listening.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._closing = False

    @property
    def address(self) -> Address:
        """Where it listens."""
        return Address(self.host, self.port)

    @property
    def url(self) -> str:
        """The same as a URL."""
        return self.address.url

    def __enter__(self) -> ReplayServer:
        threading.Thread(target=self._accept, name="replay", daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening and reset every open connection."""
        with self._lock:
            self._closing = True
            still_open = list(self._open)
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for connection in still_open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                if self._closing:
                    connection.close()
                    return
                self._open.add(connection)
            threading.Thread(
                target=self._serve, args=(connection,), name="replay-connection", daemon=True
            ).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with contextlib.suppress(OSError):
                self._exchanges(connection)
        finally:
            with self._lock:
                self._open.discard(connection)
            connection.close()

    def answer(self, request: Seen) -> Answer:
        """What is sent for `request`: by its route, a 404 where there is none."""
        reply = self.routes.get((request.method, request.path.partition("?")[0]))
        reply = reply or self.routes.get((request.method, "*")) or NOT_FOUND
        made = reply(request) if callable(reply) else reply
        return made if isinstance(made, Answer) else Answer(made)

    def _exchanges(self, connection: socket.socket) -> None:
        kept = bytearray()
        while (request := _read_request(connection, kept)) is not None:
            self.seen.append(request)
            answer = self.answer(request)
            if not self._send(connection, answer):
                return
            if answer.half_close:
                connection.shutdown(socket.SHUT_WR)
                self._wait(connection, threading.Event())
                return
            if answer.close or b"\r\nconnection: close" in _head(answer.data).lower():
                return

    def _wait(self, connection: socket.socket, event: threading.Event) -> bool:
        """Wait for the event; False when the client leaves meanwhile."""
        while not event.is_set() and not self._closing:
            if _left(connection):
                self.disconnected.set()
                return False
            event.wait(0.005)
        return True

    def _send(self, connection: socket.socket, answer: Answer) -> bool:
        """Whether the connection may be used again."""
        if answer.hold is not None and not self._wait(connection, answer.hold):
            return False
        whole = answer.data if answer.cut is None else answer.data[: answer.cut]
        try:
            for start, piece in _pieces(whole, answer):
                waits = answer.hold_at is not None and start == answer.hold_at
                if waits and answer.resume and not self._wait(connection, answer.resume):
                    return False
                connection.sendall(piece)
        except OSError:
            self.disconnected.set()
            return False
        if answer.reset:
            connection.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00"
            )
        return answer.cut is None and not answer.reset


def _left(connection: socket.socket) -> bool:
    """Whether the client has closed or reset: looked at for 10 ms, nothing is consumed."""
    readable, _, _ = select.select([connection], [], [], 0.01)
    try:
        return bool(readable) and not connection.recv(1, socket.MSG_PEEK)
    except OSError:
        return True


def at_every_position(data: bytes) -> Iterable[Answer]:
    """`data` cut off after each of its bytes, the whole of it excluded."""
    return (Answer(data, cut=position) for position in range(len(data)))


def byte_by_byte(data: bytes, start: int = 0) -> Answer:
    """`data` in pieces of one byte from `start` on."""
    return Answer(data, split=tuple(range(start, len(data))))


def split_at(answer: Answer | bytes, *positions: int) -> Answer:
    """The same answer, cut into pieces there."""
    made = answer if isinstance(answer, Answer) else Answer(answer)
    return replace(made, split=positions)


def _pieces(whole: bytes, answer: Answer) -> Iterable[tuple[int, bytes]]:
    marks = {mark for mark in (*answer.split, answer.hold_at or 0) if 0 < mark < len(whole)}
    edges = [0, *sorted(marks), len(whole)]
    return [(start, whole[start:end]) for start, end in itertools.pairwise(edges)]


def _head(data: bytes) -> bytes:
    return data.partition(b"\r\n\r\n")[0]


def _read_request(connection: socket.socket, kept: bytearray) -> Seen | None:
    """One request, sized or chunked; None at the end of the connection."""
    while b"\r\n\r\n" not in kept:
        if not (more := connection.recv(65_536)):
            return None
        kept += more
    head, _, _ = bytes(kept).partition(b"\r\n\r\n")
    del kept[: len(head) + 4]
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ", 2)
    pairs = (line.partition(":") for line in lines)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return Seen(method, path, headers, _read_chunked(connection, kept))
    length = int(headers.get("content-length", "0"))
    return Seen(method, path, headers, _take(connection, kept, length))


def _read_chunked(connection: socket.socket, kept: bytearray) -> bytes:
    body = b""
    while True:
        while b"\r\n" not in kept:
            kept += _more(connection)
        line, _, _ = bytes(kept).partition(b"\r\n")
        del kept[: len(line) + 2]
        size = int(line.partition(b";")[0], 16)
        body += _take(connection, kept, size)
        _take(connection, kept, 2)
        if size == 0:
            return body


def _take(connection: socket.socket, kept: bytearray, count: int) -> bytes:
    while len(kept) < count:
        kept += _more(connection)
    taken = bytes(kept[:count])
    del kept[:count]
    return taken


def _more(connection: socket.socket) -> bytes:
    more = connection.recv(65_536)
    if not more:
        raise ConnectionResetError("the client left in the middle of a request")
    return more
