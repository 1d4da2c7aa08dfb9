"""What engines' errors mean to the client, from recorded answers and from documented shapes."""

from __future__ import annotations

import json

import msgspec
import pytest
from dialects_recorded import LLAMACPP, OLLAMA, OLLAMA_TARGET, OPENAI_TARGET, VLLM, WEBUI, recorded
from hypothesis import given
from hypothesis import strategies as st

from flm.dialects.clients import FORMS
from flm.dialects.engine import CODECS
from flm.dialects.engine_errors import explain
from flm.dialects.redaction import cleaned
from flm.errors import EngineError, Overflow, Refusal

KEY = "llamacpp-xllamacpp-2026.10-key"
TOOLS = "vllm-0.32.0-cpu-tools-and-key"


@pytest.mark.parametrize(
    ("engine", "name", "status", "code", "param"),
    [
        (LLAMACPP, "chat-bad-type", 400, "invalid_value", None),
        (LLAMACPP, "chat-context-overflow", 400, "context_length_exceeded", "messages"),
        (LLAMACPP, "chat-image", 400, "unsupported_modalities", "messages"),
        (LLAMACPP, "embeddings", 400, "unsupported_operation", None),
        (KEY, "noauth-chat", 502, "upstream_auth_error", None),
        (OLLAMA, "chat-bad-format", 400, "invalid_value", None),
        (OLLAMA, "chat-bad-option", 400, "invalid_value", "num_predict"),
        (OLLAMA, "chat-bad-schema", 400, "invalid_value", None),
        (OLLAMA, "chat-bad-keep-alive", 400, "invalid_value", None),
        (OLLAMA, "chat-bad-type", 400, "invalid_value", None),
        (OLLAMA, "chat-context-overflow", 400, "context_length_exceeded", "messages"),
        (OLLAMA, "chat-embed-model", 400, "unsupported_operation", None),
        (OLLAMA, "chat-get", 400, "unsupported_operation", None),
        (OLLAMA, "chat-image-not-base64", 400, "invalid_value", None),
        (OLLAMA, "chat-image-unsupported", 400, "unsupported_modalities", "messages"),
        (OLLAMA, "chat-think-unsupported", 400, "unsupported_parameter", "reasoning_effort"),
        (OLLAMA, "chat-tools-unsupported", 400, "unsupported_parameter", "tools"),
        (OLLAMA, "chat-unknown-model", 404, "model_not_found", "model"),
        (OLLAMA, "embed-bad-type", 400, "invalid_value", None),
        (OLLAMA, "embed-too-long", 400, "context_length_exceeded", "input"),
        (OLLAMA, "embed-unsupported", 400, "unsupported_operation", None),
        (OLLAMA, "host-rebinding", 502, "upstream_auth_error", None),
        (OLLAMA, "v1-chat-context-overflow", 400, "context_length_exceeded", "messages"),
        (OLLAMA, "v1-chat-queue-full", 503, "engine_busy", None),
        (OLLAMA, "v1-chat-unknown-model", 404, "model_not_found", "model"),
        (WEBUI, "chat-bad-type", 400, "invalid_value", "messages"),
        (WEBUI, "after-unload-chat", 502, "engine_error", None),
        (WEBUI, "embeddings", 502, "engine_error", None),
        (VLLM, "chat-bad-temperature", 400, "invalid_value", "temperature"),
        (VLLM, "chat-bad-type", 400, "invalid_value", "messages"),
        (VLLM, "chat-context-overflow", 400, "context_length_exceeded", "messages"),
        (VLLM, "chat-image", 400, "unsupported_modalities", "messages"),
        (VLLM, "chat-tools", 400, "unsupported_parameter", "tool_choice"),
        (VLLM, "chat-unknown-model", 404, "model_not_found", "model"),
        (VLLM, "embeddings", 400, "unsupported_operation", None),
        (TOOLS, "noauth-chat", 502, "upstream_auth_error", None),
    ],
)
def test_a_recorded_error_keeps_its_meaning(
    engine: str, name: str, status: int, code: str, param: str | None
) -> None:
    """Status, code and the field at fault, as OpenAI's clients know them."""
    answer = recorded(engine, name)
    error = explain(answer.status, answer.headers, answer.body)
    assert (error.status, error.code, error.param) == (status, code, param)
    assert error.message
    assert "{" not in error.message or engine == VLLM


@pytest.mark.parametrize("name", ["chat-context-overflow", "v1-chat-context-overflow"])
def test_an_overflow_says_both_numbers_and_the_remedy(name: str) -> None:
    """Wrapped once by Ollama's own API, twice by its OpenAI layer."""
    answer = recorded(OLLAMA, name)
    error = CODECS["ollama"].error(answer.status, {}, answer.body, OLLAMA_TARGET)
    assert error.message == (
        "The prompt has 30020 tokens, the model's context holds 2048 tokens. Shorten it, or"
        " run: flm config set engines.ollama.num_ctx 65536."
    )
    assert error.should_retry is False


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (
            (
                "This model's maximum context length is 512 tokens. However, you requested 600"
                " tokens (500 in the messages, 100 in the completion)."
            ),
            (
                "The prompt has 500 tokens and the answer may have 100, the"
                " model's context holds 512"
                " tokens. Shorten it, lower max_tokens"
            ),
        ),
        (
            (
                "This model's maximum context length is 512 tokens. However,"
                " you requested 100 output"
                " tokens and your prompt contains at least 413 input tokens,"
                " for a total of at least"
                " 513 tokens."
            ),
            (
                "The prompt has at least 413 tokens and the answer may have"
                " 100, the model's context"
                " holds 512 tokens. Shorten it, lower max_tokens"
            ),
        ),
        (
            (
                "This model's maximum context length is 512 tokens. However, your prompt contains"
                " 30018 characters (more than 5120 characters)."
            ),
            "The prompt has 30018 characters, the model's context holds 512 tokens. Shorten it",
        ),
    ],
)
def test_an_overflow_of_vllm_names_its_own_setting(said: str, expected: str) -> None:
    """FLM has no setting for engines it does not start."""
    body = json.dumps({"error": {"message": said, "type": "BadRequestError", "code": 400}})
    error = explain(400, {}, body.encode(), OPENAI_TARGET)
    assert error.message == (
        f"{expected}, or start the engine with a larger context (vLLM: --max-model-len)."
    )


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (
            (
                "Requested token count exceeds the model's maximum context"
                " length of 512 tokens. You"
                " requested a total of 600 tokens: 500 tokens from the input"
                " messages and 100 tokens"
                " for the completion."
            ),
            Overflow(500, 512, 100),
        ),
        (
            "The input (600 tokens) is longer than the model's context length (512 tokens).",
            Overflow(600, 512),
        ),
        (
            (
                "This model's maximum context length is 512 tokens. However,"
                " your messages resulted in"
                " 600 tokens."
            ),
            Overflow(600, 512),
        ),
        (
            "Prompt too long: 600 tokens exceeds max context window of 512 tokens",
            Overflow(600, 512),
        ),
        ("prompt is too long: 600 tokens > 512 maximum", Overflow(600, 512)),
        (
            (
                "This model's maximum context length is 512 tokens. However,"
                " you requested 100 output"
                " tokens and your prompt contains at least 413 input tokens,"
                " for a total of at least"
                " 513 tokens."
            ),
            Overflow(413, 512, 100, True),
        ),
        ("the input length exceeds the context length", None),
    ],
)
def test_the_numbers_of_an_overflow_are_read(said: str, expected: Overflow | None) -> None:
    """As SGLang, vLLM, OpenAI, servers for MLX and Anthropic say them."""
    error = explain(400, {}, msgspec.json.encode({"error": said}))
    assert (error.code, error.overflow) == ("context_length_exceeded", expected)


@pytest.mark.parametrize(
    ("overflow", "begins"),
    [
        (Overflow(600, 512), "prompt is too long: 600 tokens > 512 maximum. Too long."),
        (Overflow(413, 512, 100, True), "prompt is too long: 513 tokens > 512 maximum. Too long."),
        (
            Overflow(500, 512, 100),
            "input length and `max_tokens` exceed context limit: 500 + 100 > 512. Too long.",
        ),
        (None, "prompt is too long. Too long."),
    ],
)
def test_an_overflow_is_said_in_anthropics_words(overflow: Overflow | None, begins: str) -> None:
    """Claude Code reads the numbers, and shortens the conversation or its `max_tokens`."""
    error = EngineError(400, "context_length_exceeded", "Too long.")
    error.overflow = overflow
    said = msgspec.json.decode(FORMS["anthropic"].error(error, "req_1"))
    assert said == {
        "type": "error",
        "error": {"type": "invalid_request_error", "message": begins},
        "request_id": "req_1",
    }


def test_an_overflow_of_llamacpp_names_its_own_setting() -> None:
    """Its context is shared by its slots, which surprises everybody."""
    answer = recorded("llamacpp-xllamacpp-2026.10", "chat-context-overflow")
    error = explain(answer.status, answer.headers, answer.body, OPENAI_TARGET)
    assert error.message == (
        "The prompt has 30020 tokens, the model's context holds 1024 tokens. Shorten it, or"
        " start llama.cpp with a larger --ctx-size; its --parallel slots share it."
    )


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7), ("0", 1), ("9999", 120), ("", 5), ("-1", 5), ("soon", 5), ("٣", 5)],
)
@pytest.mark.parametrize("status", [429, 503])
def test_busy_stays_busy_with_a_time_to_come_back(status: int, header: str, seconds: int) -> None:
    """The engine's where it makes sense: SDKs do not retry at all after more than 120 s."""
    error = explain(status, {"retry-after": header}, b'{"error":"server busy"}')
    assert (error.status, error.retry_after, error.should_retry) == (status, seconds, None)


def test_loading_is_told_from_busy() -> None:
    """llama.cpp answers so until the model is there."""
    body = b'{"error":{"message":"Loading model","type":"unavailable_error","code":503}}'
    assert explain(503, {}, body).code == "engine_loading"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error":{"message":"boom","type":"X"}}', "boom"),
        (b'{"error":"boom"}', "boom"),
        (b'{"object":"error","message":"boom","type":"X","code":500}', "boom"),
        (b'{"detail":"boom"}', "boom"),
        (b'{"detail":{"msg":"boom","type":"X"}}', "boom"),
        (b'{"detail":[{"loc":["body","a"],"msg":"boom"}]}', "boom"),
        (b"boom", "boom"),
        (b'{"error":"{\\"error\\":{\\"message\\":\\"boom\\"}}"}', "boom"),
        (
            b'{"error":{"message":"{\\"error\\":\\"{\\\\\\"message\\\\\\":\\\\\\"boom\\\\\\"}\\"}"}}',
            "boom",
        ),
        (b"", "HTTP 500 without a word of why"),
        (b"<html>a proxy's page</html>", "HTTP 500 without a word of why"),
        (b"x" * 100_000, "HTTP 500 without a word of why"),
    ],
)
def test_every_shape_of_an_error_is_read(body: bytes, message: str) -> None:
    """An engine's 500 becomes 502 and says why; a retry would only cost."""
    error = explain(500, {}, body)
    assert (error.status, error.code, error.should_retry) == (502, "engine_error", False)
    assert error.message == f"The engine failed: {message}"


@pytest.mark.parametrize(
    ("status", "expected"),
    [(502, 502), (504, 504), (408, 504), (413, 413), (418, 502), (302, 502), (500, 502)],
)
def test_no_status_is_passed_on_that_means_something_else(status: int, expected: int) -> None:
    """And none is a bare 500."""
    assert explain(status, {}, b"").status == expected


@given(st.integers(100, 599), st.binary(max_size=300))
def test_any_error_can_be_explained(status: int, body: bytes) -> None:
    """It never raises, and always says something."""
    error = explain(status, {}, body)
    assert 400 <= error.status < 600
    assert error.status != 500
    assert error.message


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("open /root/.ollama/models/blobs/sha256-ab: gone", "open [path]: gone"),
        ("C:\\Users\\me\\x.gguf is bad", "[path] is bad"),
        ("see ~/models/a.gguf", "see [path]"),
        ('Post "http://me:pw@127.0.0.1:4/completion": EOF', 'Post "[url]": EOF'),
        ("dial tcp 10.0.0.7:8080: refused", "dial tcp [address]: refused"),
        ("at [::1]:8080 or localhost:99", "at [address] or [address]"),
        ("Incorrect API key: sk-abcdef123456", "Incorrect API key: [secret]"),
        ("one\r\ntwo\x00three", "one two three"),
        ("model Qwen/Qwen3-8B and/or x", "model Qwen/Qwen3-8B and/or x"),
        ("no route /v1/embeddings here", "no route /v1/embeddings here"),
        ("temperature must be >= 0.5, got -3.0", "temperature must be >= 0.5, got -3.0"),
        ("あ" * 600, "あ" * 499 + "…"),
    ],
)
def test_messages_tell_nothing_about_the_machine(said: str, shown: str) -> None:
    """Paths, addresses, URLs and secrets go; names of models and numbers stay."""
    assert cleaned(said) == shown


def test_errors_have_openais_shape() -> None:
    """As a body and as an event."""
    refusal = Refusal(400, "invalid_value", 'say "あ"', param="n")
    whole = (
        '{"error":{"message":"say \\"あ\\"","type":"invalid_request_error",'
        '"code":"invalid_value","param":"n"}}'
    ).encode()
    assert FORMS["openai"].error(refusal, "req_1") == whole
    assert FORMS["openai"].broken(refusal, "req_1") == b"data: " + whole + b"\n\n"


@pytest.mark.parametrize(
    "said",
    [
        "The model has crashed without additional information. (Exit code: 6)",
        "Model unloaded.",
        "Model is unloaded",
    ],
)
@pytest.mark.parametrize("status", [200, 400, 404])
def test_a_model_that_dies_is_not_the_clients_fault(status: int, said: str) -> None:
    """LM Studio answers 400, or 200 with an error in it: it is the engine that failed."""
    error = explain(status, {}, msgspec.json.encode({"error": said}))
    assert (error.status, error.code, error.should_retry) == (502, "engine_error", False)
    assert said in error.message


def test_a_response_format_that_lm_studio_rejects_is_the_clients() -> None:
    """It knows `json_schema` and says so."""
    said = "'response_format.type' must be 'json_schema' or 'text'"
    error = explain(400, {}, msgspec.json.encode({"error": said}))
    assert (error.status, error.code, error.message) == (400, "invalid_value", said)
