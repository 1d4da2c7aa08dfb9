"""The table of errors: each engine's shape to each dialect, and nothing of the machine in it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import flm
from flm.cli import error_table
from flm.cli.error_index import ApiError, scan
from flm.cli.error_table import SHAPES, Shape, explained, told
from flm.dialects.clients import FORMS
from flm.dialects.engine_errors import explain
from flm.domain.traits import ClientDialect

TRANSCRIPTS = Path(__file__).parents[1] / "transcripts"
DIALECTS: tuple[ClientDialect, ...] = ("openai", "responses", "anthropic", "ollama")
WORTH_A_RETRY = {
    (408, "request_timeout"),  # the client's own pace
    (499, "client_closed"),  # nobody hears it
    (502, "engine_error"),  # a proxy's 502, or of commands
    (502, "engine_gone"),  # a kept connection that was stale
    (502, "engine_too_old"),  # of commands
    (503, "model_load_failed"),  # the controller says whether
    (501, "not_supported"),
}

every_shape = pytest.mark.parametrize(
    "shape", SHAPES, ids=lambda shape: f"{shape.engine}-{shape.status}-{shape.what}"
)


def api_errors() -> list[ApiError]:
    """What FLM answers by itself."""
    return scan(Path(flm.__file__).parent)[0]


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape.recorded])
def test_what_was_recorded_is_told_as_it_was(shape: Shape) -> None:
    """Status and bytes of the engine."""
    answer = (TRANSCRIPTS / f"{shape.recorded}.response.http").read_bytes()
    head, _, body = answer.partition(b"\r\n\r\n")

    assert head.split(b" ")[1] == str(shape.status).encode()
    assert body.strip().decode() == shape.body


@pytest.mark.parametrize(
    ("engine", "what", "expected"),
    [
        ("llamacpp", "The prompt is too long",
         [(400, "context_length_exceeded", 400, "invalid_request_error", None, False)]),
        ("ollama", "The prompt is too long",
         [(400, "context_length_exceeded", 400, "invalid_request_error", None, False)] * 2),
        ("vllm", "The prompt is too long",
         [(400, "context_length_exceeded", 400, "invalid_request_error", None, False)] * 2),
        ("custom (SGLang)", "The prompt is too long",
         [(400, "context_length_exceeded", 400, "invalid_request_error", None, False)]),
        ("ollama", "The model is missing",
         [(404, "model_not_found", 404, "not_found_error", None, False)]),
        ("vllm", "The model is missing",
         [(404, "model_not_found", 404, "not_found_error", None, False)]),
        ("llamacpp", "The model is missing",
         [(404, "model_not_found", 404, "not_found_error", None, False)]),
        ("ollama", "The engine is full, or loads",
         [(503, "engine_busy", 529, "overloaded_error", 5, None)]),
        ("llamacpp", "The engine is full, or loads",
         [(503, "engine_loading", 503, "api_error", 5, None)]),
        ("custom (FastFlowLM)", "The engine is full, or loads",
         [(503, "engine_busy", 529, "overloaded_error", 3, None)]),
        ("custom", "The engine is full, or loads",
         [(429, "engine_busy", 429, "rate_limit_error", 5, None)]),
        ("vllm", "A parameter is wrong",
         [(400, "invalid_value", 400, "invalid_request_error", None, False)]),
        ("ollama", "A parameter is wrong",
         [(400, "invalid_value", 400, "invalid_request_error", None, False)]),
        ("text-generation-webui", "A parameter is wrong",
         [(400, "invalid_value", 400, "invalid_request_error", None, False)]),
        ("ollama", "The model cannot do it",
         [(400, "unsupported_parameter", 400, "invalid_request_error", None, False)]),
        ("llamacpp", "The model cannot do it",
         [(400, "unsupported_modalities", 400, "invalid_request_error", None, False),
          (400, "unsupported_operation", 400, "invalid_request_error", None, False)]),
        ("lmstudio", "The model cannot do it",
         [(400, "unsupported_operation", 400, "invalid_request_error", None, False)]),
        ("vllm", "The engine wants another key",
         [(502, "upstream_auth_error", 502, "api_error", None, False)]),
        ("custom", "The engine took too long",
         [(504, "engine_timeout", 504, "timeout_error", None, False)] * 2),
        ("text-generation-webui", "The engine failed",
         [(502, "engine_error", 502, "api_error", None, False)]),
        ("lmstudio", "The engine failed",
         [(502, "engine_error", 502, "api_error", None, False)]),
        ("custom", "The engine failed",
         [(502, "engine_error", 502, "api_error", None, None),
          (502, "engine_error", 502, "api_error", None, False)]),
        ("custom", "The engine sends clients elsewhere",
         [(502, "engine_redirects", 502, "api_error", None, False)]),
    ],
)  # fmt: skip
def test_every_shape_keeps_its_meaning(
    engine: str, what: str, expected: list[tuple[object, ...]]
) -> None:
    """Status, code, Anthropic's status and type, Retry-After, x-should-retry."""
    shapes = [shape for shape in SHAPES if (shape.engine, shape.what) == (engine, what)]
    found = [told(explained(shape)) for shape in shapes]

    assert [
        (
            each.status,
            each.code,
            each.anthropic_status,
            each.anthropic_kind,
            each.retry_after,
            each.should_retry,
        )
        for each in found
    ] == expected


@pytest.mark.parametrize("dialect", DIALECTS)
@every_shape
def test_every_dialect_says_every_shape(shape: Shape, dialect: ClientDialect) -> None:
    """In its own form, never as a bare 500, and the same in mid-stream."""
    error = explained(shape)
    form = FORMS[dialect]
    body = json.loads(form.error(error, "req_1"))
    status = form.status(error)
    message = body["error"] if dialect == "ollama" else body["error"]["message"]

    assert status in (400, 404, 429, 502, 503, 504, 529)
    assert error.message in message
    assert "192.168" not in message
    assert "/srv" not in message
    assert message.encode() in form.broken(error, "req_1").replace(b"\\", b"") or '"' in message


@pytest.mark.parametrize("error", api_errors(), ids=lambda error: f"{error.status}-{error.code}")
def test_what_is_useless_to_repeat_is_said_to_be(error: ApiError) -> None:
    """What SDKs repeat by themselves has a time to come back, or is not to be repeated."""
    retried = error.status in (408, 409, 429) or error.status >= 500
    said = error.retry_after or error.should_retry
    assert said or not retried or (error.status, error.code) in WORTH_A_RETRY


def test_a_bare_500_is_nowhere() -> None:
    """FLM's own two say what failed."""
    assert {error.code for error in api_errors() if error.status == 500} == {
        "internal_error",
        "response_unreadable",
    }
    assert all(error.message for error in api_errors() if error.status == 500)


SECRETS = st.sampled_from(
    [
        "http://10.1.2.3:8000/v1/chat",
        "https://box.lan/x?token=abcdef",
        "10.1.2.3:8000",
        "10.1.2.3",
        "[fd00::1]:8000",
        "/var/lib/models/x.gguf",
        "/srv/private/file",
        "C:\\Users\\someone\\x.gguf",
        "sk-abcdefghijkl",
        "Bearer abcdefghijkl",
    ]
)
SENTENCES = st.sampled_from(
    [
        "model 'm' not found at {}",
        "failed to open {}",
        "exceeds the available context size ({})",
        "loading {}",
        "dial tcp {}: refused",
        "{}",
        "does not support tools, see {}",
        "image input is not supported by {}",
        "unexpected endpoint or method. ({})",
    ]
)
WRAPPINGS = st.sampled_from(
    [
        lambda said: {"error": {"message": said, "type": "x", "param": said, "code": said}},
        lambda said: {"error": said},
        lambda said: {"object": "error", "message": said, "code": 400},
        lambda said: {"detail": [{"loc": ["body", said], "msg": said}]},
        lambda said: {"detail": said},
        lambda said: {"error": json.dumps({"error": {"message": said}})},
        lambda said: said,
    ]
)


@given(
    SECRETS,
    SENTENCES,
    WRAPPINGS,
    st.sampled_from([200, 302, 400, 401, 404, 408, 413, 422, 429, 500, 501, 502, 503, 504, 599]),
    st.sampled_from(DIALECTS),
)
def test_nothing_of_the_machine_reaches_a_client(
    secret: str, sentence: str, wrapped: object, status: int, dialect: ClientDialect
) -> None:
    """Whatever the shape, the status and the dialect: addresses, paths, URLs, keys."""
    made = wrapped(sentence.format(secret))  # type: ignore[operator]
    body = made if isinstance(made, str) else json.dumps(made)
    error = explain(status, {"location": secret, "retry-after": secret}, body.encode())
    form = FORMS[dialect]

    said = json.loads(form.error(error, "req_1"))
    last = form.broken(error, "req_1").decode()

    for shown in (json.dumps(said).replace("\\\\", "\\"), last.replace("\\\\", "\\"), error.code):
        assert secret not in shown


def test_a_target_says_which_setting_would_help() -> None:
    """FLM's own for Ollama, the engine's for llama.cpp."""
    (ollama,) = [s for s in SHAPES if s.recorded.endswith("0-rc2/chat-context-overflow")]

    assert "engines.ollama.num_ctx" in error_table.explained(ollama).message
