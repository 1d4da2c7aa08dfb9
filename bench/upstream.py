"""Two engines made of nothing: a static one for answers, one that streams.

The static one is nginx with `return 200`: the fastest HTTP server at hand, so that the upstream
is no part of what is measured. The streaming one is this file run as a program: it sends each
client an event every 10 ms, on raw sockets, the clients spread evenly over the 10 ms.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time
from collections import deque

MODEL = "bench"

MARK = b"~"
"""Stands exactly once in each streamed event, and nowhere else: events are counted by it."""

PERIOD = 0.010
GROUPS = 10

ANSWER = json.dumps(
    {
        "id": "chatcmpl-7f3a1c5e9b2d4f60",
        "object": "chat.completion",
        "created": 1763700000,
        "model": MODEL,
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "A reverse proxy takes requests in place of the servers behind it, "
                    "passes each on to one of them, and hands the answer back. It can hold the "
                    "keys, spread the load, and keep watch. Here it also counts tokens.",
                },
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 212, "completion_tokens": 41, "total_tokens": 253},
        "system_fingerprint": "fp_bench",
    }
)
"""0.65 kB with its head."""

MODELS = json.dumps(
    {"object": "list", "data": [{"id": MODEL, "object": "model", "owned_by": "bench"}]}
)


ANSWERS = {
    b"/v1/chat/completions": ANSWER,
    b"/v1/models": MODELS,
    b"/health": '{"status":"ok"}',
}
"""What both engines say where nothing is streamed; any other path is a 404."""


def request_body(model: str, *, events: int = 0) -> bytes:
    """A chat of a few turns, 0.9 kB with its head; with `events` a stream of so many."""
    messages = [
        {"role": "system", "content": "You are a helpful assistant. Answer in two sentences."},
        {"role": "user", "content": "What is a reverse proxy? " + "I run models at home. " * 12},
        {"role": "assistant", "content": "It stands before servers and passes requests on. " * 3},
        {"role": "user", "content": "And why would I want one?"},
    ]
    body = {"model": model, "messages": messages, "max_tokens": events or 64}
    return json.dumps({**body, "stream": True} if events else body).encode()


def _event(content: str) -> bytes:
    chunk = {
        "id": "chatcmpl-7f3a1c5e9b2d4f60",
        "object": "chat.completion.chunk",
        "created": 1763700000,
        "model": MODEL,
        "choices": [{"index": 0, "delta": {"content": content}, "finish_reason": None}],
    }
    data = b"data: " + json.dumps(chunk, separators=(",", ":")).encode() + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(data), data)


EVENT = _event(" word~")
WHY = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
DONE = b"%x\r\n%b\r\ne\r\ndata: [DONE]\n\n\r\n0\r\n\r\n" % (len(WHY), WHY)
HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)


def _sized(status: str, body: bytes) -> bytes:
    return b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (
        status.encode(),
        len(body),
        body,
    )


class Client:
    """One connection: what it sent so far, and how many events it still gets."""

    __slots__ = ("left", "received", "socket")

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.received = b""
        self.left = 0


class StreamingEngine:
    """`max_tokens` events to each client that asks for a stream, then `[DONE]`."""

    def __init__(self, port: int) -> None:
        self._server = socket.create_server(("127.0.0.1", port), backlog=4096)
        self._server.setblocking(False)
        self._poll = select.epoll()
        self._poll.register(self._server, select.EPOLLIN)
        self._clients: dict[int, Client] = {}
        self._groups: list[deque[Client]] = [deque() for _ in range(GROUPS)]
        self._next_group = 0

    def serve(self) -> None:
        """Answer until killed: one group of clients gets its event every millisecond."""
        step = PERIOD / GROUPS
        due = time.monotonic()
        turn = 0
        while True:
            wait = max(0.0, due - time.monotonic())
            if select.select([self._poll.fileno()], [], [], wait)[0]:
                for number, _ in self._poll.poll(0):
                    self._ready(number)
            if time.monotonic() >= due:
                self._send_to(self._groups[turn])
                turn = (turn + 1) % GROUPS
                due += step

    def _ready(self, number: int) -> None:
        if number == self._server.fileno():
            connection, _ = self._server.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._clients[connection.fileno()] = Client(connection)
            self._poll.register(connection, select.EPOLLIN)
        else:
            self._read(self._clients[number])

    def _read(self, client: Client) -> None:
        try:
            data = client.socket.recv(65536)
        except ConnectionError:
            data = b""
        if not data:
            self._clients.pop(client.socket.fileno())
            self._poll.unregister(client.socket)
            client.socket.close()
            return
        client.received += data
        head, end, body = client.received.partition(b"\r\n\r\n")
        if end and len(body) >= _content_length(head):
            client.received = b""
            self._answer(client, head.split(b" ", 2)[1], body)

    def _answer(self, client: Client, path: bytes, body: bytes) -> None:
        asked = json.loads(body) if path == b"/v1/chat/completions" else {}
        if asked.get("stream"):
            client.left = (
                asked.get("max_tokens") or asked["max_completion_tokens"]
            )  # SGLang renames
            client.socket.sendall(HEAD)
            self._groups[self._next_group].append(client)
            self._next_group = (self._next_group + 1) % GROUPS
        elif path in ANSWERS:
            client.socket.sendall(_sized("200 OK", ANSWERS[path].encode()))
        else:
            client.socket.sendall(_sized("404 Not Found", b'{"error":{"message":"not found"}}'))

    def _send_to(self, group: deque[Client]) -> None:
        for _ in range(len(group)):
            client = group.popleft()
            try:
                client.socket.sendall(EVENT if client.left else DONE)
            except OSError:
                continue  # it has left; reading it says so and forgets it
            if client.left:
                client.left -= 1
                group.append(client)


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


if __name__ == "__main__":
    StreamingEngine(int(sys.argv[1])).serve()
