"""What all fake engines share: one server (`support.replay.ReplayServer`) and the faults.

A fake answers in threads of its own, so a test may ask it from its own event loop or without
one. `routes` are what the engine says when all is well; a fault changes what becomes of an
answer on its way out, and `mend` takes it away::

    with VllmFake() as fake:
        fake.fault("/v1/chat/completions", dropped(after=2))
        ...
        fake.mend()
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from support.replay import Answer, ReplayServer, Reply, Seen, response

Fault = Callable[[Answer], Answer]
"""What becomes of one answer."""

Routes = dict[tuple[str, str], Reply]

EVERYWHERE = "*"


class FakeEngine(ReplayServer):
    """A server with `routes` (method, path without query), and faults by path.

    ``seen`` holds the requests in order; ``disconnected`` is set when a client leaves while it
    is being answered.
    """

    def __init__(self, routes: Mapping[tuple[str, str], Reply], host: str = "127.0.0.1") -> None:
        super().__init__(routes=dict(routes), host=host)
        self._faults: dict[str, tuple[Fault, ...]] = {}

    def fault(self, path: str, *faults: Fault) -> None:
        """From now on these befall what is answered at `path` (`EVERYWHERE`: at all)."""
        self._faults[path] = faults

    def mend(self) -> None:
        """No faults any more."""
        self._faults.clear()

    def answer(self, request: Seen) -> Answer:
        """The route's answer, after what befalls it."""
        made = super().answer(request)
        path = request.path.partition("?")[0]
        for fault in (*self._faults.get(path, ()), *self._faults.get(EVERYWHERE, ())):
            made = fault(made)
        return made

    def asked(self, path: str) -> list[Seen]:
        """The requests for that path, in order."""
        return [seen for seen in self.seen if seen.path.partition("?")[0] == path]


# Answers


def as_json(document: object, status: str = "200 OK", **headers: str) -> bytes:
    """A sized JSON response."""
    body = json.dumps(document, ensure_ascii=False).encode()
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return response(body, status, headers=fields)


def event(document: object, name: str = "") -> bytes:
    """One event of a stream; a `str` document stands as it is (`[DONE]`)."""
    data = document if isinstance(document, str) else json.dumps(document, ensure_ascii=False)
    return (f"event: {name}\n" if name else "").encode() + f"data: {data}\n\n".encode()


def line(document: object) -> bytes:
    """One line of NDJSON."""
    return json.dumps(document, ensure_ascii=False).encode() + b"\n"


def stream(
    events: Iterable[bytes], content_type: str = "text/event-stream", **headers: str
) -> Answer:
    """A chunked response: one chunk, and one piece on the wire, for each event."""
    fields = {"Content-Type": content_type, "Transfer-Encoding": "chunked"}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "HTTP/1.1 200 OK\r\n" + "".join(f"{key}: {value}\r\n" for key, value in fields.items())
    return _framed(f"{head}\r\n".encode(), tuple(events))


def asked_for(request: Seen) -> dict[str, object]:
    """The request's JSON object, {} when it is none."""
    try:
        found = json.loads(request.body or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


# Faults


def slow(until: threading.Event) -> Fault:
    """Nothing is answered before `until` is set."""
    return lambda made: replace(made, hold=until)


def instead(data: bytes) -> Fault:
    """Another answer: 503 while loading, 429 when it is full."""
    return lambda made: Answer(data)


def broken_json(made: Answer) -> Answer:
    """A body that ends in the middle of its JSON, though the message is whole."""
    head, body = opened(made.data)
    return Answer(_sized(head, body[: len(body) // 2]))


def wrong_content_type(made: Answer) -> Answer:
    """A page for people instead of JSON, with status 200."""
    return Answer(response("<html><body>It works!</body></html>", content_type="text/html"))


def half_closed(made: Answer) -> Answer:
    """The engine says half of the message, sends FIN and keeps its own side open."""
    return replace(made, cut=len(made.data) // 2, split=(), half_close=True)


def empty(made: Answer) -> Answer:
    """The connection is closed without a byte."""
    return replace(made, cut=0, split=())


def dropped(after: int, *, reset: bool = False) -> Fault:
    """A stream that ends with the connection after so many events."""

    def drop(made: Answer) -> Answer:
        framed = _again(made)
        return replace(framed, cut=framed.split[after], reset=reset)

    return drop


def ended(after: int, *last: bytes) -> Fault:
    """A stream that ends in order after so many events, with these last ones."""

    def end(made: Answer) -> Answer:
        head, body = opened(made.data)
        return _framed(head, (*events_of(body)[:after], *last))

    return end


def paused(after: int, until: threading.Event) -> Fault:
    """A stream that stands still after so many events until `until` is set."""

    def pause(made: Answer) -> Answer:
        framed = _again(made)
        return replace(framed, hold_at=framed.split[after], resume=until)

    return pause


def crlf(made: Answer) -> Answer:
    """A stream whose lines end with CR LF."""
    head, body = opened(made.data)
    return _framed(head, [each.replace(b"\n", b"\r\n") for each in events_of(body)])


def in_chunks(size: int) -> Fault:
    """A body in chunks of so many bytes, wherever that cuts, each a piece on the wire."""

    def cut(made: Answer) -> Answer:
        head, body = opened(made.data)
        return _framed(head, [body[at : at + size] for at in range(0, len(body), size)])

    return cut


# The framing of HTTP/1.1


def opened(data: bytes) -> tuple[bytes, bytes]:
    """A response's head (with its blank line) and its body without the chunks' framing."""
    head, _, rest = data.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" not in head.lower():
        return head + b"\r\n\r\n", rest
    body = bytearray()
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        count = int(size.partition(b";")[0], 16)
        if not count:
            break
        body += rest[:count]
        rest = rest[count + 2 :]
    return head + b"\r\n\r\n", bytes(body)


def events_of(body: bytes) -> list[bytes]:
    """The events of a stream (or the lines of NDJSON), each with what ends it."""
    mark = b"\n\n" if body.startswith((b"data:", b"event:", b":")) else b"\n"
    return [each + mark for each in body.replace(b"\r\n", b"\n").split(mark) if each.strip()]


def _again(made: Answer) -> Answer:
    head, body = opened(made.data)
    return _framed(head, events_of(body))


def _framed(head: bytes, pieces: Iterable[bytes]) -> Answer:
    """``split[n]`` is the position after n pieces (0: after the head)."""
    fields = [each for each in head.split(b"\r\n") if each and not each.lower().startswith(
        (b"content-length:", b"transfer-encoding:"))]  # fmt: skip
    data = b"\r\n".join([*fields, b"Transfer-Encoding: chunked", b"", b""])
    marks = [len(data)]
    for piece in pieces:
        data += b"%x\r\n%b\r\n" % (len(piece), piece)
        marks.append(len(data))
    return Answer(data + b"0\r\n\r\n", split=tuple(marks))


def _sized(head: bytes, body: bytes) -> bytes:
    fields = [each for each in head.split(b"\r\n") if each and not each.lower().startswith(
        (b"content-length:", b"transfer-encoding:"))]  # fmt: skip
    return b"\r\n".join([*fields, b"Content-Length: %d" % len(body), b"", body])
