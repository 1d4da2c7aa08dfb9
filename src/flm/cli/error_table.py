"""How errors reach each dialect: a table made by the very code that says them.

`SHAPES` are bytes of engines, recorded or documented; what becomes of them is asked of
`dialects.engine_errors` and `dialects.clients`, so that the page tells what a client gets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec

from flm.cli.error_index import ApiError
from flm.dialects.clients import FORMS
from flm.dialects.engine_errors import explain
from flm.errors import N_, EngineError, Refusal
from flm.wire.snapshot import EngineDialect, Target


class Shape(NamedTuple):
    """An error as an engine says it. ``recorded``: the transcript that holds it, '' where the
    engine's documents do; ``what`` is a message template for people.
    """

    what: str
    engine: str
    status: int
    body: str
    recorded: str = ""
    headers: Mapping[str, str] = {}


class Told(NamedTuple):
    """What clients are told: `Refusal`'s facts, and how Anthropic's dialect differs."""

    status: int
    code: str
    kind: str
    anthropic_status: int
    anthropic_kind: str
    anthropic_message: str
    retry_after: int | None
    should_retry: bool | None
    message: str


_TOO_LONG = N_("The prompt is too long")
_NO_MODEL = N_("The model is missing")
_FULL = N_("The engine is full, or loads")
_WRONG = N_("A parameter is wrong")
_CANNOT = N_("The model cannot do it")
_KEY = N_("The engine wants another key")
_SLOW = N_("The engine took too long")
_FAILED = N_("The engine failed")
_ELSEWHERE = N_("The engine sends clients elsewhere")

_LLAMACPP = "llamacpp-xllamacpp-2026.10"
_OLLAMA = "ollama-0.33.0-rc2"
_VLLM = "vllm-0.32.0-cpu"
_WEBUI = "text-generation-webui-4.7.3"

SHAPES: tuple[Shape, ...] = (
    Shape(
        _TOO_LONG, "llamacpp", 400,
        '{"error":{"code":400,"message":"request (30020 tokens) exceeds the available context'
        ' size (1024 tokens), try increasing it","type":"exceed_context_size_error",'
        '"n_prompt_tokens":30020,"n_ctx":1024}}',
        f"{_LLAMACPP}/chat-context-overflow",
    ),
    Shape(
        _TOO_LONG, "ollama", 400,
        r'{"error":"{\"error\":{\"code\":400,\"message\":\"request (30020 tokens) exceeds the'
        r" available context size (2048 tokens), try increasing it\",\"type\":"
        r'\"exceed_context_size_error\",\"n_prompt_tokens\":30020,\"n_ctx\":2048}}"}',
        f"{_OLLAMA}/chat-context-overflow",
    ),
    Shape(
        _TOO_LONG, "ollama", 400, '{"error":"the input length exceeds the context length"}',
        f"{_OLLAMA}/embed-too-long",
    ),
    Shape(
        _TOO_LONG, "vllm", 400,
        '{"error":{"message":"This model\'s maximum context length is 512 tokens. However, your'
        " prompt contains 30018 characters (more than 5120 characters, which is the upper bound"
        " for 512 input tokens). Please reduce the length of the input prompt."
        ' (parameter=input_text, value=30018)","type":"BadRequestError","param":"input_text",'
        '"code":400}}',
        f"{_VLLM}/chat-context-overflow",
    ),
    Shape(
        _TOO_LONG, "vllm", 400,
        '{"error":{"message":"This model\'s maximum context length is 512 tokens. However, you'
        " requested 100 output tokens and your prompt contains at least 413 input tokens, for a"
        ' total of at least 513 tokens.","type":"BadRequestError","param":"input_tokens",'
        '"code":400}}',
    ),
    Shape(
        _TOO_LONG, "custom (SGLang)", 400,
        '{"object":"error","message":"Requested token count exceeds the model\'s maximum context'
        " length of 512 tokens. You requested a total of 600 tokens: 500 tokens from the input"
        ' messages and 100 tokens for the completion.","type":"BadRequestError","param":null,'
        '"code":400}',
    ),
    Shape(
        _NO_MODEL, "ollama", 404, '{"error":"model \'no-such-model\' not found"}',
        f"{_OLLAMA}/chat-unknown-model",
    ),
    Shape(
        _NO_MODEL, "vllm", 404,
        '{"error":{"message":"The model `no-such-model` does not exist. Valid aliases:'
        ' tiny-llama.","type":"NotFoundError","param":"model","code":404}}',
        f"{_VLLM}/chat-unknown-model",
    ),
    Shape(
        _NO_MODEL, "llamacpp", 400,
        '{"error":{"code":400,"message":"model \'no-such-model\' not found",'
        '"type":"invalid_request_error"}}',
    ),
    Shape(
        _FULL, "ollama", 503,
        '{"error":{"message":"server busy, please try again.  maximum pending requests exceeded",'
        '"type":"api_error","param":null,"code":null}}',
        f"{_OLLAMA}/v1-chat-queue-full",
    ),
    Shape(
        _FULL, "llamacpp", 503,
        '{"error":{"message":"Loading model","type":"unavailable_error","code":503}}',
    ),
    Shape(
        _FULL, "custom (FastFlowLM)", 503,
        '{"error":"NPU is currently in use by another request"}', headers={"retry-after": "3"},
    ),
    Shape(_FULL, "custom", 429, '{"error":{"message":"Rate limit reached","code":429}}'),
    Shape(
        _WRONG, "vllm", 400,
        '{"error":{"message":"temperature must be non-negative, got -3.0. (parameter=temperature,'
        ' value=-3.0)","type":"BadRequestError","param":"temperature","code":400}}',
        f"{_VLLM}/chat-bad-temperature",
    ),
    Shape(
        _WRONG, "llamacpp", 400,
        '{"error":{"code":400,"message":"Expected \'messages\' to be an array",'
        '"type":"invalid_request_error"}}',
        f"{_LLAMACPP}/chat-bad-type",
    ),
    Shape(
        _WRONG, "ollama", 500, r'{"error":"option \"num_predict\" must be of type integer"}',
        f"{_OLLAMA}/chat-bad-option",
    ),
    Shape(
        _WRONG, "text-generation-webui", 422,
        '{"detail":[{"type":"list_type","loc":["body","messages"],"msg":"Input should be a valid'
        ' list","input":"hi"}]}',
        f"{_WEBUI}/chat-bad-type",
    ),
    Shape(
        _WRONG, "lmstudio", 400,
        "{\"error\":\"'response_format.type' must be 'json_schema' or 'text'\"}",
    ),
    Shape(
        _CANNOT, "ollama", 400,
        '{"error":"registry.ollama.ai/library/scripted-think:latest does not support tools"}',
        f"{_OLLAMA}/chat-tools-unsupported",
    ),
    Shape(
        _CANNOT, "vllm", 400,
        r'{"error":{"message":"\"auto\" tool choice requires --enable-auto-tool-choice and'
        r' --tool-call-parser to be set","type":"BadRequestError","param":null,"code":400}}',
        f"{_VLLM}/chat-tools",
    ),
    Shape(
        _CANNOT, "llamacpp", 500,
        '{"error":{"code":500,"message":"image input is not supported - hint: if this is'
        ' unexpected, you may need to provide the mmproj","type":"server_error"}}',
        f"{_LLAMACPP}/chat-image",
    ),
    Shape(_CANNOT, "vllm", 404, '{"detail":"Not Found"}', f"{_VLLM}/embeddings"),
    Shape(
        _CANNOT, "llamacpp", 501,
        '{"error":{"code":501,"message":"This server does not support reranking. Start it with'
        ' `--reranking`","type":"not_supported_error"}}',
        f"{_LLAMACPP}/rerank",
    ),
    Shape(
        _CANNOT, "lmstudio", 200,
        '{"error":"Unexpected endpoint or method. (POST /v1/rerank)"}',
    ),
    Shape(
        _KEY, "vllm", 401, '{"error":"Unauthorized"}',
        f"{_VLLM}-tools-and-key/noauth-chat",
    ),
    Shape(
        _KEY, "llamacpp", 401,
        '{"error":{"message":"Invalid API Key","type":"authentication_error","code":401}}',
        f"{_LLAMACPP}-key/noauth-chat",
    ),
    Shape(_SLOW, "custom", 504, "upstream request timeout"),
    Shape(_SLOW, "custom", 408, ""),
    Shape(
        _FAILED, "text-generation-webui", 500, "Internal Server Error",
        f"{_WEBUI}/after-unload-chat",
    ),
    Shape(
        _FAILED, "lmstudio", 400,
        '{"error":"The model has crashed without additional information. (Exit code: 6)"}',
    ),
    Shape(_FAILED, "custom", 502, "<html><body>Bad Gateway</body></html>"),
    Shape(
        _FAILED, "custom", 500,
        '{"error":"dial tcp 192.168.1.7:8000: cannot open /srv/models/secret.gguf"}',
    ),
    Shape(
        _ELSEWHERE, "custom", 307, "", headers={"location": "https://other.example/v1"},
    ),
)  # fmt: skip


def told(refusal: Refusal) -> Told:
    """What clients of each dialect get of it."""
    anthropic = FORMS["anthropic"]
    said = msgspec.json.decode(anthropic.error(refusal, "req_1"))["error"]
    return Told(
        refusal.status,
        refusal.code,
        refusal.kind,
        anthropic.status(refusal),
        said["type"],
        said["message"],
        refusal.retry_after,
        refusal.should_retry,
        refusal.message,
    )


def explained(shape: Shape) -> EngineError:
    """What FLM makes of an engine's error."""
    return explain(shape.status, shape.headers, shape.body.encode(), target(shape))


def target(shape: Shape) -> Target:
    """A model on that engine."""
    engine, _, _ = shape.engine.partition(" ")
    dialect: EngineDialect = "ollama" if engine == "ollama" else "openai"
    return Target(id=f"{engine}/m", engine=engine, model="m", dialect=dialect)


def of_api(error: ApiError) -> Told:
    """What clients get of an answer that FLM gives by itself."""
    return told(
        Refusal(
            error.status,
            error.code,
            error.message,
            kind=error.kind,
            retry_after=error.retry_after or None,
            should_retry={"": None, "true": True, "false": False}[error.should_retry],
        )
    )


def cells(said: Told) -> Iterator[str]:
    """Status and code, OpenAI's type, Anthropic's status and type, the two headers."""
    yield from (str(said.status), f"`{said.code}`", f"`{said.kind}`")
    yield f"{said.anthropic_status} `{said.anthropic_kind}`"
    yield "-" if said.retry_after is None else str(said.retry_after)
    yield "-" if said.should_retry is None else str(said.should_retry).lower()
