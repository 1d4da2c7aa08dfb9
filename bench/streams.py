"""Many streams open at once."""

from __future__ import annotations

import json
import select
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from bench.events import MARK
from bench.load import head
from bench.upstream import MESSAGES, request_body


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A stream as a client asks for it: where, how, and what its last bytes hold."""

    path: str
    body: bytes
    end: bytes


Asking = Callable[[str, int], Asked]
"""Makes what is asked of a model and a number of events."""


def openai(model: str, events: int) -> Asked:
    """OpenAI's chat completions."""
    body = request_body(model, events=events)
    return Asked(path="/v1/chat/completions", body=body, end=b"data: [DONE]\n\n")


def ollama(model: str, events: int) -> Asked:
    """Ollama's own `/api/chat`."""
    asked = {"model": model, "messages": MESSAGES, "options": {"num_predict": events}}
    body = json.dumps({**asked, "stream": True}).encode()
    return Asked(path="/api/chat", body=body, end=b'"eval_duration":')


def anthropic(model: str, events: int) -> Asked:
    """Anthropic's Messages: what the system says stands beside the messages."""
    system, *messages = MESSAGES
    asked = {"model": model, "system": system["content"], "messages": messages}
    body = json.dumps({**asked, "max_tokens": events, "stream": True}).encode()
    return Asked(path="/v1/messages", body=body, end=b'{"type":"message_stop"}\n\n')


@dataclass(frozen=True, kw_only=True)
class Streamed:
    """What a number of open streams came to, within the time in which all were open."""

    streams: int
    chunks: int
    seconds: float
    errors: int
    complaint: str
    load_cpu: float


class Streams:
    """`count` streams at once, each read to its end; a stream that is not whole is an error."""

    def __init__(self, port: int, asked: Asked, key: str, *, count: int, events: int) -> None:
        self._port = port
        self._request = head(len(asked.body), key, asked.path) + asked.body
        self._end = asked.end
        self._count = count
        self._events = events
        self._poll = select.epoll()
        self._open: dict[int, socket.socket] = {}
        self._marks: dict[int, int] = {}
        self._tails: dict[int, bytes] = {}
        self._chunks = 0
        self._complaints: list[str] = []

    def run(self, seconds: float, measured: Callable[[str], None]) -> Streamed:
        """Open all, then read on; `measured("begin")` and `measured("end")` mark `seconds`.

        The begin is when every stream has had an event, so no set-up is counted.
        """
        self._open_all()
        deadline = time.monotonic() + 60
        self._read_until(lambda: len(self._marks) >= len(self._open), deadline)
        measured("begin")
        begin, chunks, cpu = time.monotonic(), self._chunks, time.process_time()
        self._read_until(lambda: time.monotonic() >= begin + seconds, deadline)
        measured("end")
        end = time.monotonic()
        result = (self._chunks - chunks, end - begin, time.process_time() - cpu)
        self._read_until(lambda: not self._open, deadline)
        for number in list(self._open):
            self._close(number, "not ended in time")
        return Streamed(
            streams=self._count,
            chunks=result[0],
            seconds=result[1],
            errors=len(self._complaints),
            complaint=self._complaints[0] if self._complaints else "",
            load_cpu=result[2],
        )

    def _open_all(self) -> None:
        for _ in range(self._count):
            try:
                connection = socket.create_connection(("127.0.0.1", self._port), timeout=10)
                connection.sendall(self._request)
            except OSError as error:
                self._complaints.append(str(error))
                continue
            self._open[connection.fileno()] = connection
            self._tails[connection.fileno()] = b""
            self._poll.register(connection, select.EPOLLIN)

    def _read_until(self, done: Callable[[], bool], deadline: float) -> None:
        while not done() and self._open and time.monotonic() < deadline:
            for number, _ in self._poll.poll(0.1):
                self._read(number)

    def _read(self, number: int) -> None:
        try:
            data = self._open[number].recv(65536)
        except ConnectionError:
            data = b""
        marks = data.count(MARK)
        if marks:
            self._chunks += marks
            self._marks[number] = self._marks.get(number, 0) + marks
        tail = self._tails[number] = (self._tails[number] + data)[-64:]
        if tail.endswith(b"\r\n0\r\n\r\n"):
            whole = self._end in tail and self._marks.get(number) == self._events
            self._close(number, "" if whole else f"not whole: {tail!r}")
        elif not data:
            self._close(number, f"cut off: {tail!r}")

    def _close(self, number: int, complaint: str) -> None:
        connection = self._open.pop(number)
        self._poll.unregister(connection)
        connection.close()
        if complaint:
            self._complaints.append(complaint)
