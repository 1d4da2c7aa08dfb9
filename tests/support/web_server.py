"""A web server that serves files as release hosts do: ranges, ETags, redirects, and bad days."""

from __future__ import annotations

import hashlib
import http.server
import re
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Asked:
    """A request that came."""

    path: str
    headers: dict[str, str]


@dataclass
class WebServer:
    """What is served, and how badly. Paths begin with a slash.

    ``cuts``: after so many bytes of a body that is longer the line drops, one for each such
    answer, then no more; ``statuses``: answered in place of a file, one for each request, then no
    more; ``moved``: where a path leads; ``validators``: fields that name the version; ``ranges``
    False: ranges are not known here; ``strict`` False: `If-Range` is overlooked; ``hold``: a
    line drops only when this is set, or after `patience` seconds, once for each: what is under
    way when it drops may be lost.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    moved: dict[str, str] = field(default_factory=dict)
    statuses: list[tuple[int, Mapping[str, str]]] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)
    validators: str = "etag"
    ranges: bool = True
    strict: bool = True
    chunked: bool = False
    announced: int = 0
    asked: list[Asked] = field(default_factory=list)
    base: str = ""
    hold: threading.Event | None = None
    patience: float = 30.0
    reached: threading.Event = field(default_factory=threading.Event)

    def url(self, path: str) -> str:
        """The whole address of `path`."""
        return self.base + path

    def paths(self) -> list[str]:
        """What was asked for, in order."""
        return [each.path for each in self.asked]

    def ranges_asked(self) -> list[str | None]:
        """The `Range` of each request."""
        return [each.headers.get("range") for each in self.asked]

    def put(self, path: str, content: bytes) -> str:
        """Serve `content` at `path`; its SHA-256."""
        self.files[path] = content
        return hashlib.sha256(content).hexdigest()


@contextmanager
def web_server(certificate: tuple[str, str] | None = None, **more: Any) -> Iterator[WebServer]:
    """A running server on a free loopback port; with `certificate` (chain, key) over TLS."""
    web = WebServer(**more)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            _answer(web, self)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = _Server(("127.0.0.1", 0), Handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    scheme = "http" if certificate is None else "https"
    web.base = f"{scheme}://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield web
    finally:
        if web.hold is not None:
            web.hold.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that leaves early is no news."""


def _answer(web: WebServer, handler: http.server.BaseHTTPRequestHandler) -> None:
    handler.close_connection = True
    fields = {name.lower(): value for name, value in handler.headers.items()}
    web.asked.append(Asked(handler.path, fields))
    if web.statuses:
        status, more = web.statuses.pop(0)
        return _head(handler, status, {**more, "Content-Length": "0"})
    path = re.sub(r"^https?://[^/]+", "", handler.path).partition("?")[0]
    if path in web.moved:
        return _head(handler, 302, {"Location": web.moved[path], "Content-Length": "0"})
    content = web.files.get(path)
    if content is None:
        return _head(handler, 404, {"Content-Length": "0"})
    names = _validators(web, content)
    start = _start(web, fields, names)
    if start is not None and start >= len(content):
        return _head(
            handler, 416, {"Content-Range": f"bytes */{len(content)}", "Content-Length": "0"}
        )
    body = content[start or 0 :]
    head = dict(names)
    if start is not None:
        head["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
    if not web.chunked:
        head["Content-Length"] = str(web.announced or len(body))
    _head(handler, 200 if start is None else 206, head)
    _body(web, handler, body)
    return None


def _body(web: WebServer, handler: http.server.BaseHTTPRequestHandler, body: bytes) -> None:
    if web.cuts and len(body) > web.cuts[0]:
        body = body[: web.cuts.pop(0)]
        handler.wfile.write(body)
        handler.wfile.flush()
        web.reached.set()
        if web.hold is not None:
            web.hold.wait(web.patience)
            web.hold.clear()
        handler.connection.shutdown(socket.SHUT_RDWR)
        return
    handler.wfile.write(body)


def _head(
    handler: http.server.BaseHTTPRequestHandler, status: int, fields: Mapping[str, str]
) -> None:
    handler.send_response(status)
    for name, value in {**fields, "Connection": "close"}.items():
        handler.send_header(name, value)
    handler.end_headers()


def _validators(web: WebServer, content: bytes) -> dict[str, str]:
    digest = hashlib.sha256(content).hexdigest()[:16]
    return {
        "etag": {"ETag": f'"{digest}"'},
        "weak": {"ETag": f'W/"{digest}"'},
        "date": {"Last-Modified": "Mon, 02 Nov 2026 10:00:00 GMT"},
        "none": {},
    }[web.validators]


def _start(web: WebServer, fields: Mapping[str, str], names: Mapping[str, str]) -> int | None:
    """The first byte that is asked for, None for all of them."""
    wanted = re.fullmatch(r"bytes=(\d+)-", fields.get("range", ""))
    if wanted is None or not web.ranges:
        return None
    condition = fields.get("if-range")
    if web.strict and condition is not None and condition not in names.values():
        return None
    return int(wanted[1])
