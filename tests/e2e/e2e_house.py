"""A started FLM as tests use it: through the real SDK, and byte for byte where that says more."""

from __future__ import annotations

import http.client
import json
import socket
from contextlib import closing
from typing import Any, NamedTuple

from e2e_engines import Switchboard
from openai import OpenAI

from support.replay import ReplayServer
from support.running_flm import Flm, Served

CHAT = "/v1/chat/completions"


class House(NamedTuple):
    """A running FLM with every kind of engine behind it.

    Embedded: `words` says SENTENCE, `Qwen/Qwen3-8B` its own, `embedder` embeds, `endless` goes on
    when told to ignore its end, `flm-demo`. `ollama` speaks recorded bytes; `switch` is an
    OpenAI-compatible engine in the test's hand, `second` another home of its models.
    """

    flm: Flm
    served: Served
    key: str
    ollama: ReplayServer
    switch: Switchboard
    second: Switchboard

    def client(self, **more: Any) -> OpenAI:
        """The real SDK, which retries nothing here."""
        return sdk(self.served, self.key, **more)


def sdk(served: Served, key: str, **more: Any) -> OpenAI:
    """The real SDK, pointed at a started FLM."""
    return OpenAI(
        base_url=served.base_url, api_key=key, **{"max_retries": 0, "timeout": 60.0, **more}
    )


class Reply(NamedTuple):
    """An answer: header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """Its body as JSON."""
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of the error it is."""
        return str(self.json["error"]["code"])


def call(port: int, path: str, key: str | None = None, body: Any = None, **headers: str) -> Reply:
    """One request on a connection of its own; a POST when there is a body."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if key is not None:
        sent["authorization"] = f"Bearer {key}"
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        data = None if body is None else json.dumps(body)
        connection.request("GET" if body is None else "POST", path, data, sent)
        answer = connection.getresponse()
        fields = {name.lower(): value for name, value in answer.getheaders()}
        return Reply(answer.status, fields, answer.read())


def accepts(port: int, key: str) -> int:
    """The status of a request with that key."""
    return call(port, "/v1/models", key).status


def chat(model: str, **more: Any) -> dict[str, Any]:
    """The body of a chat."""
    return {"model": model, "messages": [{"role": "user", "content": "hi"}], **more}


class Patient(http.client.HTTPConnection):
    """A connection that takes little at once, so that what is not read waits at the gateway.

    There the system still takes up to 4 MB off it: only a longer stream is held by its client.
    """

    def connect(self) -> None:
        """With a small buffer, which must be known before."""
        self.sock = socket.socket()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        self.sock.settimeout(self.timeout)
        self.sock.connect((self.host, self.port))


class Stream:
    """A streamed chat, read event by event on a connection of its own. Use it as a context."""

    def __init__(self, port: int, key: str, model: str, **more: Any) -> None:
        self._connection = Patient("127.0.0.1", port, timeout=60)
        body = json.dumps(chat(model, stream=True, **more))
        self._connection.request("POST", CHAT, body, {"authorization": f"Bearer {key}"})
        self._answer = self._connection.getresponse()
        self.status = self._answer.status
        self.id = self._answer.headers["x-request-id"]

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *error: object) -> None:
        self._answer.close()
        self._connection.close()

    def next(self) -> str:
        """The data of the next event, '' at the end of a body that ended as its framing says.

        Raises `http.client.IncompleteRead` for one that did not (`readline` would hide that).
        """
        line = b""
        while byte := self._answer.read(1):
            line += byte
            if byte == b"\n":
                if line.startswith(b"data: "):
                    return line[6:].decode().rstrip("\n")
                line = b""
        return ""

    def first_word(self) -> str:
        """The first text of the answer."""
        while not (said := text_of(self.next())):
            pass
        return said

    def rest(self) -> list[str]:
        """The data of all events that are still to come; the body ends whole."""
        return list(iter(self.next, ""))


def text_of(event: str) -> str:
    """The text in the data of an event."""
    choices = json.loads(event)["choices"] if event.startswith("{") else []
    return (choices[0]["delta"].get("content") or "") if choices else ""


def code_of(event: str) -> str:
    """The code of the error that an event is."""
    return str(json.loads(event)["error"]["code"])
