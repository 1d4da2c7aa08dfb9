"""Whole answers at a fixed rate."""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections import deque

from bench.load import Answers, head, whole_size


class OpenLoop:
    """Requests at a fixed rate, whether or not the earlier ones were answered.

    A latency counts from the moment a request was due: one that had to wait for a free
    connection, or for a server that stood still, waited (no coordinated omission).
    """

    def __init__(self, port: int, body: bytes, key: str, *, connections: int = 64) -> None:
        self._port = port
        self._request = head(len(body), key) + body
        self._poll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._due: dict[int, float] = {}
        self._partial: dict[int, bytes] = {}
        self._free: deque[int] = deque()
        self._latencies: list[float] = []
        self._errors = 0
        for _ in range(connections):
            self._connect()

    def _connect(self) -> None:
        connection = socket.create_connection(("127.0.0.1", self._port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sockets[connection.fileno()] = connection
        self._poll.register(connection, select.EPOLLIN)
        self._free.append(connection.fileno())

    def run(self, rate: float, seconds: float) -> Answers:
        """Send `rate` requests a second for `seconds`, then wait up to 5 s for the rest."""
        cpu = time.process_time()
        start = time.perf_counter()
        total = int(rate * seconds)
        sent = 0
        waiting: deque[float] = deque()
        while sent < total or waiting or self._due:
            now = time.perf_counter()
            while sent < total and start + sent / rate <= now:
                waiting.append(start + sent / rate)
                sent += 1
            while waiting and self._free:
                self._send(self._free.popleft(), waiting.popleft())
            if now > start + seconds + 5:
                self._errors += len(waiting) + len(self._due)
                break
            pause = max(0.0, start + sent / rate - now) if sent < total else 0.1
            if select.select([self._poll.fileno()], [], [], pause)[0]:
                for number, _ in self._poll.poll(0):
                    self._read(number)
        return self._summary(seconds, time.process_time() - cpu)

    def _send(self, number: int, due: float) -> None:
        self._due[number] = due
        try:
            self._sockets[number].sendall(self._request)
        except OSError:
            self._lost(number)

    def _read(self, number: int) -> None:
        try:
            data = self._sockets[number].recv(65536)
        except ConnectionError:
            data = b""
        if not data:
            self._lost(number)
            return
        data = self._partial.pop(number, b"") + data
        size = whole_size(data)
        if size is None or len(data) < size:
            self._partial[number] = data
            return
        due = self._due.pop(number, None)
        if due is None or len(data) > size or not data.startswith(b"HTTP/1.1 200 "):
            self._errors += 1
        else:
            self._latencies.append(time.perf_counter() - due)
        self._free.append(number)

    def _lost(self, number: int) -> None:
        """The server closed: an error if it owed an answer; a fresh connection takes over."""
        self._errors += self._due.pop(number, None) is not None
        connection = self._sockets.pop(number)
        self._poll.unregister(connection)
        connection.close()
        self._partial.pop(number, None)
        with contextlib.suppress(ValueError):
            self._free.remove(number)
        self._connect()

    def _summary(self, seconds: float, cpu: float) -> Answers:
        ordered = sorted(self._latencies) or [0.0]
        for connection in self._sockets.values():
            connection.close()
        return Answers(
            requests=len(self._latencies),
            seconds=seconds,
            p50=1000 * ordered[len(ordered) // 2],
            p99=1000 * ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))],
            worst=1000 * ordered[-1],
            errors=self._errors,
            load_cpu=cpu,
        )
