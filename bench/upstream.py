"""Two engines made of nothing: a static one for answers, one that streams.

The static one is nginx with `return 200`: the fastest HTTP server at hand, so that the upstream
is no part of what is measured. The streaming one is this file run as a program: it sends each
client an event once in a period (10 ms), on raw sockets, the clients spread evenly over it. It
is an engine that speaks OpenAI's language, or an Ollama.
"""

from __future__ import annotations

import argparse
import json
import select
import socket
import time
from collections import deque
from collections.abc import Mapping

from bench.events import MODEL, TAG, Events, OllamaEvents, OpenAiEvents, ollama_answer
from bench.machine import allow_many_files

PERIOD = 0.010
STEP = 0.001
"""Each group of clients gets its events one step after the one before."""

LARGE = 1 << 20
"""Bytes of a body beyond which the engine does not look into it: it is no stream's."""

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

OLLAMA_ANSWERS = {
    b"/": "Ollama is running",
    b"/api/version": json.dumps({"version": "0.33.0"}),
    b"/api/tags": json.dumps(
        {
            "models": [
                {
                    "name": TAG,
                    "model": TAG,
                    "modified_at": "2026-11-21T11:44:59.609989492Z",
                    "size": 6483199,
                    "digest": "a4038cc76b24e9c80a048001259453369e782ce2c05b437dac1b876fe34b64be",
                    "details": {"format": "gguf", "family": "llama", "context_length": 8192},
                    "capabilities": ["completion"],
                }
            ]
        }
    ),
    b"/api/ps": json.dumps({"models": [{"name": TAG, "model": TAG, "context_length": 8192}]}),
    b"/api/chat": json.dumps(ollama_answer("A reverse proxy takes requests.")),
    b"/v1/chat/completions": ANSWER,
}
"""What an Ollama says where nothing is streamed."""

STREAMS = (b"/v1/chat/completions", b"/api/chat")


MESSAGES = [
    {"role": "system", "content": "You are a helpful assistant. Answer in two sentences."},
    {"role": "user", "content": "What is a reverse proxy? " + "I run models at home. " * 12},
    {"role": "assistant", "content": "It stands before servers and passes requests on. " * 3},
    {"role": "user", "content": "And why would I want one?"},
]


def request_body(model: str, *, events: int = 0) -> bytes:
    """A chat of a few turns, 0.9 kB with its head; with `events` a stream of so many."""
    body = {"model": model, "messages": MESSAGES, "max_tokens": events or 64}
    return json.dumps({**body, "stream": True} if events else body).encode()


def _sized(status: str, body: bytes) -> bytes:
    return b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (
        status.encode(),
        len(body),
        body,
    )


class Client:
    """One connection: what it sent so far, how long that will be, how many events it still gets."""

    __slots__ = ("left", "received", "socket", "wanted")

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.received = bytearray()
        self.wanted = 0
        self.left = 0

    def whole(self) -> bool:
        """Whether the request is whole."""
        if not self.wanted:
            end = self.received.find(b"\r\n\r\n")
            if end < 0:
                return False
            self.wanted = end + 4 + _content_length(bytes(self.received[:end]))
        return len(self.received) >= self.wanted


class StreamingEngine:
    """As many events as are asked for to each client that asks for a stream, then its end."""

    def __init__(
        self, port: int, events: Events, answers: Mapping[bytes, str], period: float
    ) -> None:
        self._events = events
        self._answers = answers
        self._server = socket.create_server(("127.0.0.1", port), backlog=4096)
        self._server.setblocking(False)
        self._poll = select.epoll()
        self._poll.register(self._server, select.EPOLLIN)
        self._clients: dict[int, Client] = {}
        self._groups: list[deque[Client]] = [deque() for _ in range(round(period / STEP))]
        self._next_group = 0

    def serve(self) -> None:
        """Answer until killed: one group of clients gets its event every millisecond."""
        due = time.monotonic()
        turn = 0
        while True:
            wait = max(0.0, due - time.monotonic())
            if select.select([self._poll.fileno()], [], [], wait)[0]:
                for number, _ in self._poll.poll(0):
                    self._ready(number)
            if time.monotonic() >= due:
                self._send_to(self._groups[turn])
                turn = (turn + 1) % len(self._groups)
                due += STEP

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
        if client.whole():
            request, client.received, client.wanted = client.received, bytearray(), 0
            self._answer(client, request)

    def _answer(self, client: Client, request: bytearray) -> None:
        path = bytes(request.split(b" ", 2)[1]) if len(request) < LARGE else STREAMS[0]
        asked = {}
        if path in STREAMS and len(request) < LARGE:
            asked = json.loads(request.partition(b"\r\n\r\n")[2])
        if asked.get("stream"):
            client.left = _events_asked(asked)
            client.socket.sendall(self._events.head)
            self._groups[self._next_group].append(client)
            self._next_group = (self._next_group + 1) % len(self._groups)
        elif path in self._answers:
            client.socket.sendall(_sized("200 OK", self._answers[path].encode()))
        else:
            client.socket.sendall(_sized("404 Not Found", b'{"error":{"message":"not found"}}'))

    def _send_to(self, group: deque[Client]) -> None:
        event = self._events.event() if group else b""
        for _ in range(len(group)):
            client = group.popleft()
            try:
                client.socket.sendall(event if client.left else self._events.done())
            except OSError:
                continue  # it has left; reading it says so and forgets it
            if client.left:
                client.left -= 1
                group.append(client)


def _events_asked(body: dict[str, object]) -> int:
    """`max_tokens` by any of its names: SGLang renames it, Ollama's stands in its options."""
    options = body.get("options")
    asked = body.get("max_tokens") or body.get("max_completion_tokens")
    if isinstance(options, dict):
        asked = options["num_predict"]
    assert isinstance(asked, int)
    return asked


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


def main() -> None:
    """Serve on the port that is given."""
    parser = argparse.ArgumentParser(prog="python -m bench.upstream")
    parser.add_argument("port", type=int)
    parser.add_argument("--ollama", action="store_true")
    parser.add_argument("--period", type=float, default=PERIOD)
    options = parser.parse_args()
    allow_many_files()
    events: Events = OllamaEvents() if options.ollama else OpenAiEvents()
    answers = OLLAMA_ANSWERS if options.ollama else ANSWERS
    StreamingEngine(options.port, events, answers, options.period).serve()


if __name__ == "__main__":
    main()
