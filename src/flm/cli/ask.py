"""One question to the gateway, over the same API as everybody: plain HTTP, OpenAI's format."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from flm.errors import N_, EngineError, Refusal, StreamBroken
from flm.services.gateway_answers import error_in, no_answer, remedy

PATIENCE = 900.0
"""Seconds between two bytes: longer than the gateway's own deadlines, which tell why."""

NOT_WHOLE = N_("The answer ended before it was whole.")
_LINE = 1 << 20


class Piece(NamedTuple):
    """A part of an answer. ``finish`` and ``usage`` come with the last ones."""

    text: str = ""
    reasoning: str = ""
    finish: str | None = None
    usage: Mapping[str, Any] | None = None
    model: str = ""
    request_id: str = ""


def ask(base_url: str, key: str, model: str, prompt: str, *, stream: bool) -> Iterator[Piece]:
    """The answer in pieces: as they come when `stream`, else in one.

    Raises `NotRunning` when nothing listens there any more, `EngineError` for what the gateway
    refuses or the engine fails at, and `StreamBroken` when the answer does not end as it should.
    """
    body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": prompt}]}
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    url = urlsplit(base_url)
    connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=PATIENCE)
    with closing(connection):
        try:
            connection.request(
                "POST",
                f"{url.path}/chat/completions",
                json.dumps(body),
                {"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
            )
            response = connection.getresponse()
        except (ConnectionError, TimeoutError, http.client.HTTPException) as error:
            raise no_answer(base_url, error) from error
        yield from _answer(response, stream)


def _answer(response: http.client.HTTPResponse, stream: bool) -> Iterator[Piece]:
    request_id = response.headers.get("x-request-id", "")
    try:
        if response.status != 200:
            raise _refusal(response.status, response.read(_LINE))
        if stream:
            yield from _events(response, request_id)
        else:
            yield _whole(json.loads(response.read()), request_id)
    except (ConnectionError, TimeoutError, http.client.HTTPException, ValueError) as error:
        raise StreamBroken(NOT_WHOLE) from error


def _whole(document: dict[str, Any], request_id: str) -> Piece:
    choice = document["choices"][0]
    message = choice["message"]
    return Piece(
        message.get("content") or "",
        _reasoning(message),
        choice.get("finish_reason"),
        document.get("usage"),
        document.get("model", ""),
        request_id,
    )


def _events(response: http.client.HTTPResponse, request_id: str) -> Iterator[Piece]:
    """Server-sent events until the end mark; one that is missing means the answer is not whole."""
    while line := response.readline(_LINE):
        if not line.startswith(b"data:"):
            continue
        data = line[5:].strip()
        if data == b"[DONE]":
            return
        event = json.loads(data)
        if "error" in event:
            raise _refusal(502, data)
        yield _piece(event, request_id)
    raise StreamBroken(NOT_WHOLE)


def _piece(event: dict[str, Any], request_id: str) -> Piece:
    choices = event.get("choices") or [{}]
    delta = choices[0].get("delta") or {}
    return Piece(
        delta.get("content") or "",
        _reasoning(delta),
        choices[0].get("finish_reason"),
        event.get("usage"),
        event.get("model", ""),
        request_id,
    )


def _reasoning(message: Mapping[str, Any]) -> str:
    """Engines call it `reasoning_content` (llama.cpp) or `reasoning` (vLLM)."""
    return message.get("reasoning_content") or message.get("reasoning") or ""


def _refusal(status: int, body: bytes) -> Refusal:
    """An error in OpenAI's shape as an error of ours."""
    told = error_in(body)
    refused = EngineError(status, told.code or f"http_{status}", told.message)
    refused.remedy_template = remedy(status)
    return refused
