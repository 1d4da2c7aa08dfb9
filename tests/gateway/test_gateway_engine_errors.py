"""Engines' errors through a real gateway, in each dialect: the table of `docs/errors.md`, lived."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from flm.cli.error_table import SHAPES, Shape, explained, told
from flm.domain.traits import ClientDialect
from flm.wire.snapshot import Rules
from support.gateway import RunningGateway, gateway, target_at
from support.raw_client import Response, ask, request
from support.scripted_engine import (
    STREAM_HEAD,
    EngineSide,
    ScriptedEngine,
    answer_body,
    answering,
    as_chunk,
    event,
    sized,
)

ROUTES: dict[ClientDialect, tuple[str, dict[str, Any]]] = {
    "openai": ("/v1/chat/completions", {"messages": [{"role": "user", "content": "hi"}]}),
    "responses": ("/v1/responses", {"input": "hi", "store": False}),
    "anthropic": (
        "/v1/messages",
        {"max_tokens": 8, "messages": [{"role": "user", "content": "hi"}]},
    ),
    "ollama": ("/api/chat", {"messages": [{"role": "user", "content": "hi"}]}),
}
DIALECTS = tuple(ROUTES)

every_dialect = pytest.mark.parametrize("dialect", DIALECTS)


@pytest.fixture(scope="module")
def there() -> Iterator[ScriptedEngine]:
    """An engine that says what a test wants it to."""
    with ScriptedEngine(answering(sized(answer_body()))) as engine:
        yield engine


@pytest.fixture(scope="module")
def served(
    there: ScriptedEngine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningGateway]:
    """The engine as one of OpenAI's dialect, as an Ollama, and one that nobody listens for."""
    with gateway(
        tmp_path_factory.mktemp("journal"),
        target_at(there.port, "m", engine="e"),
        target_at(there.port, "o", engine="ollama", dialect="ollama"),
        target_at(1, "down", engine="d"),
    ) as running:
        yield running


@pytest.fixture(scope="module")
def hasty(
    there: ScriptedEngine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningGateway]:
    """A gateway that waits for an engine's first byte for a tenth of a second."""
    with gateway(
        tmp_path_factory.mktemp("hasty"),
        target_at(there.port),
        rules=Rules(revision=1, first_byte_seconds=0.1),
    ) as running:
        yield running


def post(
    served: RunningGateway, dialect: ClientDialect, model: str, *, stream: bool = False
) -> Response:
    """One request in that dialect."""
    path, fields = ROUTES[dialect]
    body = json.dumps({"model": model, "stream": stream, **fields}).encode()
    return ask(served.port, request("POST", path, "Content-Type: application/json", body=body))


def said(response: Response, dialect: ClientDialect) -> tuple[str, str]:
    """Code or type, and message, as that dialect has them."""
    body = json.loads(response.body)
    match dialect:
        case "anthropic":
            assert body["type"] == "error"
            assert body["request_id"] == response.headers["x-request-id"]
            assert body["request_id"] == response.headers["request-id"]
            return body["error"]["type"], body["error"]["message"]
        case "ollama":
            return "", body["error"]
        case _:
            return body["error"]["code"], body["error"]["message"]


@every_dialect
@pytest.mark.parametrize(
    "shape", SHAPES, ids=lambda shape: f"{shape.engine}-{shape.status}-{shape.what}"
)
def test_an_engines_error_reaches_every_dialect(
    served: RunningGateway, there: ScriptedEngine, shape: Shape, dialect: ClientDialect
) -> None:
    """Status, code, message and the headers of the table, whole and where a stream was asked."""
    lines = [f"{name}: {value}" for name, value in shape.headers.items()]
    there.script = answering(sized(shape.body.encode(), f"{shape.status} Whatever", *lines))
    expected = told(explained(shape))
    anthropic = dialect == "anthropic"
    kind = {"anthropic": expected.anthropic_kind, "ollama": ""}.get(dialect, expected.code)

    for stream in (False, True):
        response = post(served, dialect, "o" if shape.engine == "ollama" else "m", stream=stream)

        found_kind, message = said(response, dialect)
        assert response.status == (expected.anthropic_status if anthropic else expected.status)
        assert found_kind == kind
        assert message.split(" ")[0] in expected.anthropic_message + expected.message
        assert "192.168" not in message
        assert "other.example" not in message
        assert response.headers.get("retry-after") == (
            None if expected.retry_after is None else str(expected.retry_after)
        )
        assert response.headers.get("x-should-retry") == (
            None if expected.should_retry is None else str(expected.should_retry).lower()
        )


@every_dialect
def test_an_engine_that_is_down_is_said_so(served: RunningGateway, dialect: ClientDialect) -> None:
    """502, and a time to come back."""
    response = post(served, dialect, "down")

    assert response.status == 502
    assert response.headers["retry-after"] == "5"
    assert said(response, dialect)[1] == "The engine does not accept connections."


@every_dialect
def test_an_engine_that_leaves_without_an_answer_is_said_so(
    served: RunningGateway, there: ScriptedEngine, dialect: ClientDialect
) -> None:
    """502, in words."""

    def leaves(side: EngineSide) -> None:
        side.request()
        side.fin()

    there.script = leaves
    response = post(served, dialect, "m")

    assert response.status == 502
    assert said(response, dialect)[1].startswith("The engine closed the connection ")


@every_dialect
def test_an_engine_that_is_silent_is_given_up(
    hasty: RunningGateway, there: ScriptedEngine, dialect: ClientDialect
) -> None:
    """504 in each dialect's words, and the same request is not worth a second try."""

    def silent(side: EngineSide) -> None:
        side.request()
        side.rest()

    there.script = silent
    response = post(hasty, dialect, "m")
    kind = {"anthropic": "timeout_error", "ollama": ""}.get(dialect, "engine_timeout")

    assert response.status == 504
    assert response.headers["x-should-retry"] == "false"
    assert said(response, dialect) == (kind, "The engine took too long to answer.")


@pytest.mark.parametrize(
    ("dialect", "ends"),
    [
        ("openai", b'"code":"stream_interrupted"'),
        ("responses", b"event: response.failed\n"),
        ("anthropic", b"event: error\n"),
        ("ollama", b'{"error":"The engine closed the connection in the middle of its answer."}\n'),
    ],
)
def test_a_broken_stream_says_so_in_the_clients_words(
    served: RunningGateway, there: ScriptedEngine, dialect: ClientDialect, ends: bytes
) -> None:
    """After 200 and content: the last thing a client reads is the error."""

    def breaks(side: EngineSide) -> None:
        side.request()
        side.send(STREAM_HEAD + as_chunk(event("日本")))
        side.rst()

    there.script = breaks
    response = post(served, dialect, "m", stream=True)

    assert response.status == 200
    assert "日本".encode() in response.body
    assert ends in response.body[-1500:]
    assert b"[DONE]" not in response.body
    assert b"message_stop" not in response.body


@every_dialect
def test_a_model_that_nobody_has_is_missing_in_every_dialect(
    served: RunningGateway, dialect: ClientDialect
) -> None:
    """404, with names of those there are."""
    response = post(served, dialect, "nobody")
    kind = {"anthropic": "not_found_error", "ollama": ""}.get(dialect, "model_not_found")

    assert response.status == 404
    found, message = said(response, dialect)
    assert (found, "nobody" in message) == (kind, True)
