"""One question to the gateway, against a real server that speaks OpenAI's bytes.

The bytes are those of the OpenAI API reference, *Chat* and *Streaming*.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from flm.cli.ask import Piece, ask
from flm.errors import EngineError, NotRunning, StreamBroken

HEAD = "HTTP/1.1 200 OK\r\nx-request-id: req-1\r\nconnection: close\r\n"
WHOLE = {
    "model": "demo",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "こんにちは"},
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
}


def event(data: Any) -> bytes:
    """One server-sent event."""
    return b"data: " + json.dumps(data, ensure_ascii=False).encode() + b"\n\n"


def delta(**message: str) -> dict[str, Any]:
    """A chunk with that delta."""
    return {"model": "demo", "choices": [{"index": 0, "delta": message, "finish_reason": None}]}


def sized(document: Any, status: str = "200 OK") -> bytes:
    """A whole answer with its length."""
    body = json.dumps(document, ensure_ascii=False).encode()
    head = HEAD.replace("200 OK", status) + f"content-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def streamed(*events: bytes) -> bytes:
    """A stream in chunks, whole."""
    chunks = b"".join(f"{len(each):x}\r\n".encode() + each + b"\r\n" for each in events)
    return HEAD.encode() + b"transfer-encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


@contextmanager
def server(reply: bytes) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """A server that reads one request and answers with these bytes; URL, and what it was sent."""
    listener = socket.create_server(("127.0.0.1", 0))
    received: list[bytes] = []

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            data = b""
            while b"\r\n\r\n" not in data or not data.endswith(b"}"):
                data += connection.recv(65536)
            received.append(data)
            connection.sendall(reply)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1", lambda: received[0]
    finally:
        thread.join()
        listener.close()


def test_a_whole_answer_is_one_piece() -> None:
    """Text, why it ended, tokens, and the request's id."""
    with server(sized(WHOLE)) as (url, received):
        pieces = list(ask(url, "flm_k", "demo", "やあ", stream=False))

    assert pieces == [Piece("こんにちは", "", "stop", WHOLE["usage"], "demo", "req-1")]
    assert b"Authorization: Bearer flm_k\r\n" in received()
    assert json.loads(received().partition(b"\r\n\r\n")[2]) == {
        "model": "demo",
        "messages": [{"role": "user", "content": "やあ"}],
    }


def test_a_stream_comes_in_its_pieces() -> None:
    """Thinking is apart from the answer; usage comes in an event without choices."""
    reply = streamed(
        event(delta(role="assistant")),
        event(delta(reasoning_content="hm")),
        event(delta(content="日")),
        event(delta(content="本")),
        event({"model": "demo", "choices": [], "usage": {"completion_tokens": 2}}),
        b"data: [DONE]\n\n",
    )

    with server(reply) as (url, _):
        pieces = list(ask(url, "flm_k", "demo", "?", stream=True))

    assert [piece.text for piece in pieces] == ["", "", "日", "本", ""]
    assert pieces[1].reasoning == "hm"
    assert pieces[4].usage == {"completion_tokens": 2}


def test_a_refusal_keeps_its_code_and_its_words() -> None:
    """What the gateway says in OpenAI's shape."""
    error = {"error": {"message": "There is no model 'x'.", "code": "model_not_found"}}

    with server(sized(error, "404 Not Found")) as (url, _), pytest.raises(EngineError) as refused:
        list(ask(url, "flm_k", "x", "?", stream=False))

    assert refused.value.code == "model_not_found"
    assert refused.value.message == "There is no model 'x'."
    assert refused.value.exit_code == 1


def test_an_error_in_the_middle_of_a_stream_is_told() -> None:
    """What came before it has been given out already."""
    error = {"error": {"message": "The engine died.", "code": "stream_interrupted"}}
    reply = streamed(event(delta(content="half")), event(error))

    with server(reply) as (url, _):
        answer = ask(url, "flm_k", "demo", "?", stream=True)
        assert next(answer).text == "half"
        with pytest.raises(EngineError, match="The engine died"):
            next(answer)


@pytest.mark.parametrize(
    "reply",
    [
        streamed(event(delta(content="half"))),
        streamed(event(delta(content="half")))[:-9],
        streamed(event(delta(content="half")), b"data: {no json\n\n"),
    ],
    ids=["no end mark", "cut in a chunk", "not JSON"],
)
def test_a_stream_that_is_not_whole_is_never_taken_for_whole(reply: bytes) -> None:
    """Without its end mark an answer is broken."""
    with server(reply) as (url, _), pytest.raises(StreamBroken):
        list(ask(url, "flm_k", "demo", "?", stream=True))


def test_an_answer_cut_before_its_length_is_broken() -> None:
    """Content-Length says how much was promised."""
    with server(sized(WHOLE)[:-10]) as (url, _), pytest.raises(StreamBroken):
        list(ask(url, "flm_k", "demo", "?", stream=False))


def test_an_error_in_another_shape_is_still_told() -> None:
    """A proxy in between may answer with anything."""
    reply = HEAD.replace("200 OK", "502 Bad Gateway").encode() + b"content-length: 4\r\n\r\noops"

    with server(reply) as (url, _), pytest.raises(EngineError) as refused:
        list(ask(url, "flm_k", "demo", "?", stream=False))

    assert (refused.value.code, refused.value.message) == ("http_502", "oops")


def test_a_gateway_that_has_gone_is_told_with_what_to_do() -> None:
    """Nothing listens on a port that was closed."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"

    with pytest.raises(NotRunning) as refused:
        list(ask(url, "flm_k", "demo", "?", stream=False))

    assert "flm up" in refused.value.remedy
