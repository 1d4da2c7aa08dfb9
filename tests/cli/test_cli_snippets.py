"""The first request as lines for a shell: run here in a real one, against a real server."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, ClassVar

import pytest

from flm.cli import snippets

AWKWARD = 'it\'s a "model"; $(id) `id` %PATH% !x \\ 日本語/ü😀'


class Echo(BaseHTTPRequestHandler):
    """Remembers what it was asked and answers with a fixed document."""

    asked: ClassVar[list[tuple[str, str, str, Any]]] = []

    def do_GET(self) -> None:
        self._answer(None)

    def do_POST(self) -> None:
        self._answer(json.loads(self.rfile.read(int(self.headers["content-length"]))))

    def _answer(self, body: Any) -> None:
        authorization = self.headers["authorization"]
        self.asked.append((self.command, self.path, authorization, body))
        reply = b'{"ok": true}'
        self.send_response(200)
        self.send_header("content-length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def base_url() -> Iterator[str]:
    """A server on a free port of loopback."""
    Echo.asked.clear()
    server = HTTPServer(("127.0.0.1", 0), Echo)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    thread.join()
    server.server_close()


def in_shell(line: str, **environ: str) -> str:
    """What the line prints when it is pasted into a POSIX shell."""
    done = subprocess.run(
        ["/bin/sh", "-c", line],
        env={"PATH": "/usr/bin:/bin", **environ},
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    return done.stdout


def chat_request(model: str) -> tuple[str, str, str, Any]:
    """What the server must have seen of a chat with the key `flm_k`."""
    body = {"model": model, "messages": [{"role": "user", "content": "Hello!"}]}
    return ("POST", "/v1/chat/completions", "Bearer flm_k", body)


@pytest.mark.parametrize("model", ["demo", AWKWARD])
def test_the_curl_line_works_when_it_is_pasted(base_url: str, model: str) -> None:
    """Whatever the model is called, the server sees exactly that name."""
    request = snippets.first_request(model)

    in_shell(snippets.curl(base_url, "flm_k", request, windows=False))

    assert Echo.asked == [chat_request(model)]


@pytest.mark.parametrize("model", ["demo", AWKWARD])
def test_the_python_line_works_when_it_is_pasted(base_url: str, model: str) -> None:
    """With nothing but Python's own library."""
    request = snippets.first_request(model)

    printed = in_shell(snippets.python(base_url, "flm_k", request, interpreter=sys.executable))

    assert Echo.asked == [chat_request(model)]
    assert printed == "{'ok': True}\n"


def test_both_lines_take_the_key_from_the_environment(base_url: str) -> None:
    """Later starts do not know the key any more."""
    request = snippets.first_request("demo")

    in_shell(snippets.curl(base_url, None, request, windows=False), FLM_API_KEY="flm_k")
    in_shell(
        snippets.python(base_url, None, request, interpreter=sys.executable), FLM_API_KEY="flm_k"
    )

    assert Echo.asked == [chat_request("demo"), chat_request("demo")]


def test_without_a_model_the_lines_ask_which_there_are(base_url: str) -> None:
    """A GET of /v1/models, from curl and from Python."""
    request = snippets.first_request(None)

    in_shell(snippets.curl(base_url, "flm_k", request, windows=False))
    in_shell(snippets.python(base_url, "flm_k", request, interpreter=sys.executable))

    assert Echo.asked == [("GET", "/v1/models", "Bearer flm_k", None)] * 2


def test_a_model_that_only_embeds_is_asked_to_embed() -> None:
    """Chat would be refused."""
    request = snippets.first_request("nomic", embeddings=True)

    assert request == ("/embeddings", {"model": "nomic", "input": "Hello!"})


def test_powershell_gets_the_body_through_a_pipe() -> None:
    """5.1 drops double quotes inside arguments, 7.3 keeps them; a pipe is the same in both."""
    request = snippets.first_request("it's")

    assert snippets.curl("http://127.0.0.1:8356/v1", None, request, windows=True) == (
        '\'{"model": "it\'\'s", "messages": [{"role": "user", "content": "Hello!"}]}\' | '
        'curl.exe "http://127.0.0.1:8356/v1/chat/completions" '
        '-H "Authorization: Bearer $env:FLM_API_KEY" -H "Content-Type: application/json" '
        "-d '@-'"
    )


def test_the_python_line_holds_nothing_that_a_shell_reads() -> None:
    """Between its double quotes there is no quote, dollar, backtick, percent or bang."""
    request = snippets.first_request(AWKWARD)
    line = snippets.python("http://127.0.0.1:8356/v1", None, request, interpreter="python")

    assert line.isascii()
    assert not set(line.removeprefix('python -c "').removesuffix('"')) & set('"$`%!&|<>^')


def test_the_variable_is_set_as_each_shell_does() -> None:
    """`export` for POSIX shells, `$env:` for PowerShell."""
    assert snippets.set_variable("flm_k", windows=False) == "export FLM_API_KEY=flm_k"
    assert snippets.set_variable("flm_k", windows=True) == '$env:FLM_API_KEY = "flm_k"'


def test_a_proxy_in_the_environment_is_passed_by(base_url: str) -> None:
    """curl would ask it for 127.0.0.1 too."""
    request = snippets.first_request("demo")

    line = snippets.curl(base_url, "flm_k", request, windows=False, direct=True)
    in_shell(line, http_proxy="http://127.0.0.1:1", all_proxy="http://127.0.0.1:1")

    assert Echo.asked == [chat_request("demo")]
