"""A client that speaks bytes: whole requests, half ones, wrong ones, and what comes back."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from support.gateway import KEY

SECONDS = 10.0
"""How long anything may take before a test fails: far longer than it does."""

CHAT = "/v1/chat/completions"


@dataclass(frozen=True)
class Response:
    """A response: its header lines in order, names in lower case; its body without chunking.

    ``chunked_end``: whether a chunked body had its end.
    """

    status: int
    lines: tuple[tuple[str, str], ...]
    body: bytes
    whole: bool = True

    @property
    def headers(self) -> dict[str, str]:
        """The header lines by name."""
        return dict(self.lines)

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The error's code."""
        return str(self.json()["error"]["code"])

    @property
    def message(self) -> str:
        """The error's sentence."""
        return str(self.json()["error"]["message"])


class RawClient:
    """One connection. Every wait has a deadline; `receive_buffer` keeps the kernel's small."""

    def __init__(self, port: int, *, receive_buffer: int | None = None) -> None:
        self._socket = socket.socket()
        if receive_buffer is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._socket.settimeout(SECONDS)
        self._socket.connect(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._kept = b""

    def send(self, data: bytes) -> RawClient:
        """Send all of `data`."""
        self._socket.sendall(data)
        return self

    def send_until_refused(self, pieces: Iterable[bytes]) -> threading.Thread:
        """Send in a thread of its own until the other side wants no more."""

        def run() -> None:
            try:
                for piece in pieces:
                    self._socket.sendall(piece)
            except OSError:
                return

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return thread

    def half_close(self) -> RawClient:
        """FIN, and go on reading."""
        self._socket.shutdown(socket.SHUT_WR)
        return self

    def close(self) -> None:
        """FIN both ways."""
        self._socket.close()

    def reset(self) -> None:
        """RST instead of FIN."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def _more(self) -> bool:
        data = self._socket.recv(1 << 16)
        self._kept += data
        return bool(data)

    def wait_for(self, mark: bytes, count: int = 1) -> None:
        """Wait until `mark` has come so many times; nothing is taken."""
        while self._kept.count(mark) < count:
            assert self._more(), f"the connection ended before {mark!r}: {self._kept!r}"

    def read_until(self, mark: bytes) -> bytes:
        """Everything up to and including `mark`."""
        while mark not in self._kept:
            assert self._more(), f"the connection ended before {mark!r}: {self._kept!r}"
        found, _, self._kept = self._kept.partition(mark)
        return found + mark

    def read(self, count: int) -> bytes:
        """Exactly `count` bytes."""
        while len(self._kept) < count:
            assert self._more(), f"the connection ended: {self._kept!r}"
        taken, self._kept = self._kept[:count], self._kept[count:]
        return taken

    def rest(self) -> bytes:
        """Everything to the end of the connection, by FIN or by RST."""
        try:
            while self._more():
                pass
        except ConnectionResetError:
            pass
        taken, self._kept = self._kept, b""
        return taken

    def is_closed(self) -> bool:
        """Whether the other side closes with nothing more to say."""
        return self.rest() == b""

    def head(self) -> tuple[int, tuple[tuple[str, str], ...]]:
        """Status and header lines of the next response."""
        first, *lines = self.read_until(b"\r\n\r\n")[:-4].decode("latin-1").split("\r\n")
        version, status, _ = first.split(" ", 2)
        assert version == "HTTP/1.1"
        pairs = (line.partition(": ") for line in lines)
        return int(status), tuple((name.lower(), value) for name, _, value in pairs)

    def response(self, *, bodiless: bool = False) -> Response:
        """The next response, framed as its head says."""
        status, lines = self.head()
        headers = dict(lines)
        if bodiless:
            return Response(status, lines, b"")
        if headers.get("transfer-encoding") == "chunked":
            body = b"".join(iter(self.chunk, b""))
            return Response(status, lines, body)
        if "content-length" in headers:
            return Response(status, lines, self.read(int(headers["content-length"])))
        return Response(status, lines, self.rest())

    def chunk(self) -> bytes:
        """The next chunk of a chunked body; empty at its end."""
        size = int(self.read_until(b"\r\n"), 16)
        data = self.read(size)
        assert self.read(2) == b"\r\n"
        return data

    def ask(self, data: bytes, **how: bool) -> Response:
        """Send and read the answer."""
        return self.send(data).response(**how)

    def __enter__(self) -> RawClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def request(
    method: str,
    path: str,
    *lines: str,
    body: bytes = b"",
    host: str | None = "localhost",
    key: str | None = KEY,
    version: str = "1.1",
    sized: bool = True,
) -> bytes:
    """A request's bytes: Host, key and length are there unless they are asked away."""
    fields = [f"{method} {path} HTTP/{version}"]
    fields += [f"Host: {host}"] if host is not None else []
    fields += [f"Authorization: Bearer {key}"] if key is not None else []
    fields += [f"Content-Length: {len(body)}"] if body and sized else []
    head = "\r\n".join([*fields, *lines])
    return head.encode("latin-1") + b"\r\n\r\n" + body


def chat(*lines: str, stream: bool = False, model: str = "m", text: str = "hi",
         version: str = "1.1", key: str | None = KEY, **more: object) -> bytes:  # fmt: skip
    """A chat request's bytes."""
    body = {"model": model, "messages": [{"role": "user", "content": text}], **more}
    if stream:
        body["stream"] = True
    return request("POST", CHAT, *lines, body=json.dumps(body).encode(), version=version, key=key)


def chunked(*pieces: bytes, extension: bytes = b"", trailers: bytes = b"") -> bytes:
    """A chunked body."""
    made = b"".join(b"%x%b\r\n%b\r\n" % (len(piece), extension, piece) for piece in pieces)
    return made + b"0\r\n" + trailers + b"\r\n"


def ask(port: int, data: bytes, **how: bool) -> Response:
    """One request on a connection of its own."""
    with RawClient(port) as client:
        return client.ask(data, **how)


def eventually(holds: Callable[[], object], seconds: float = SECONDS) -> None:
    """Wait until `holds` is true; fails after the deadline."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        pause.wait(0.005)
