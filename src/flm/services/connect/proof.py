"""One real request through the gateway, in the client's own dialect."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from contextlib import closing
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from flm.errors import N_, FlmError, UserError
from flm.ports.clock import Clock
from flm.services.connect.situation import Dialect
from flm.services.gateway_answers import error_in, no_answer, remedy

PATIENCE = 300.0
"""Seconds between two bytes: a model may have to be loaded first."""

_LARGEST = 8 << 20
_TOKENS = 16
_QUESTION = "Reply with the word OK."


class Question(NamedTuple):
    """A request. ``path`` begins at the root of the gateway; ``body`` None: a GET."""

    path: str
    body: Mapping[str, Any] | None = None
    headers: tuple[tuple[str, str], ...] = ()


class Proof(NamedTuple):
    """What came back. Tokens are None where the answer tells none; ``models``: how many a list
    of models holds."""

    path: str
    model: str
    seconds: float
    tokens_in: int | None = None
    tokens_out: int | None = None
    models: int | None = None


def question(dialect: Dialect, model: str) -> Question:
    """The smallest request a client of that dialect makes."""
    messages = [{"role": "user", "content": _QUESTION}]
    match dialect:
        case "messages":
            return Question(
                "/v1/messages",
                {"model": model, "max_tokens": _TOKENS, "messages": messages},
                (("anthropic-version", "2023-06-01"),),
            )
        case "responses":
            body = {"model": model, "input": _QUESTION, "max_output_tokens": _TOKENS}
            return Question("/v1/responses", {**body, "store": False})
        case "chat":
            return Question(
                "/v1/chat/completions",
                {"model": model, "max_tokens": _TOKENS, "messages": messages},
            )
        case "models":
            return Question("/v1/models")


def read(asked: Question, answer: bytes, seconds: float, model: str) -> Proof:
    """What a whole answer tells. Raises `UserError` when it is none of its dialect."""
    try:
        told = json.loads(answer)
        if asked.body is None:
            return Proof(asked.path, model, seconds, models=len(told["data"]))
        usage = told.get("usage") or {}
        if not any(name in told for name in ("choices", "content", "output")):
            raise KeyError("choices")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            N_("What answers at {path} is not what was asked for."),
            remedy=N_("Is it FLM? `flm proxy status` shows its address."),
            code="bad_answer",
            path=asked.path,
        ) from error
    return Proof(
        asked.path,
        str(told.get("model") or model),
        seconds,
        _prompt_tokens(usage),
        usage.get("completion_tokens", usage.get("output_tokens")),
    )


def _prompt_tokens(usage: Mapping[str, Any]) -> int | None:
    """All of the prompt's: Anthropic's `input_tokens` are those that were in no cache."""
    counted = usage.get("prompt_tokens", usage.get("input_tokens"))
    if not isinstance(counted, int):
        return None
    cached = (usage.get("cache_read_input_tokens"), usage.get("cache_creation_input_tokens"))
    return counted + sum(tokens for tokens in cached if isinstance(tokens, int))


def prove(base_url: str, key: str, dialect: Dialect, model: str, clock: Clock) -> Proof:
    """Ask once. Raises `NotRunning`, or `UserError` with what to do about it."""
    asked = question(dialect, model)
    began = clock.monotonic()
    status, answer = send(base_url, key, asked)
    if status != 200:
        raise failure(asked.path, status, answer)
    return read(asked, answer, clock.monotonic() - began, model)


def entry(base_url: str, key: str, model: str) -> dict[str, Any]:
    """What `/v1/models` tells of a name. Raises `UserError` when nothing answers to it."""
    asked = Question(f"/v1/models/{quote(model, safe='')}")
    status, answer = send(base_url, key, asked)
    if status != 200:
        raise failure(asked.path, status, answer)
    try:
        told = json.loads(answer)
    except ValueError:
        told = None
    return told if isinstance(told, dict) else {}


def send(base_url: str, key: str, asked: Question) -> tuple[int, bytes]:
    """Status and body. Raises `NotRunning` when nobody answers."""
    url = urlsplit(base_url)
    body = None if asked.body is None else json.dumps(asked.body).encode()
    headers = {"Authorization": f"Bearer {key}", **dict(asked.headers)}
    if body is not None:
        headers["Content-Type"] = "application/json"
    connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=PATIENCE)
    with closing(connection):
        try:
            connection.request("GET" if body is None else "POST", asked.path, body, headers)
            response = connection.getresponse()
            return response.status, response.read(_LARGEST)
        except (OSError, http.client.HTTPException) as error:
            raise no_answer(base_url, error) from error


def failure(path: str, status: int, answer: bytes) -> FlmError:
    """An error in OpenAI's or Anthropic's shape, and what to do about it."""
    told = error_in(answer)
    return UserError(
        N_("The request to {path} failed ({status}): {why}"),
        remedy=_remedy(status),
        code=told.code or f"http_{status}",
        path=path,
        status=status,
        why=told.message,
    )


def _remedy(status: int) -> str:
    if status in (401, 403):
        return N_("The key is not accepted: `flm connect` with --write or --new-key makes one.")
    return remedy(status)
