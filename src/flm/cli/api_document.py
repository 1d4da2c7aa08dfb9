"""`docs/openapi.json`: the API listener as an OpenAPI 3.1 document, made from the code.

Paths, limits, permissions and dialects are the route table's; schemas of requests are those that
requests are judged by; statuses of errors are what the dialects say. Written and checked by
`python -m flm.cli.docs`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec

import flm
from flm.cli.schemas import Components, Schema
from flm.dialects import openai_audio
from flm.dialects.client_anthropic import form as anthropic
from flm.dialects.client_ollama.embeddings import GivenEmbed, GivenEmbeddings
from flm.dialects.client_ollama.options import Options
from flm.dialects.client_ollama.request import GivenChat, GivenGenerate
from flm.dialects.client_responses import asked
from flm.dialects.clients import FORMS
from flm.dialects.openai_chat import ChatParams
from flm.dialects.openai_completions import CompletionParams
from flm.dialects.openai_embeddings import EmbeddingsParams
from flm.dialects.openai_images import ImageParams
from flm.dialects.openai_rerank import RerankParams
from flm.domain.traits import ClientDialect
from flm.errors import Refusal
from flm.gateway.endpoints.models import ModelList, ModelObject
from flm.gateway.endpoints.ollama_told import GivenShow
from flm.gateway.endpoints.table import route_table
from flm.gateway.routes import Route
from flm.settings import setting

PORT = setting("server.port").default
_JSON = "application/json"
_EVENTS = "text/event-stream"
_LINES = "application/x-ndjson"


class Body(NamedTuple):
    """What a POST takes. ``hints``: fields that are taken, dropped and named; ``required`` those
    that must be there beyond the Struct's own."""

    struct: type[msgspec.Struct]
    name: str
    hints: frozenset[str] = frozenset()
    required: tuple[str, ...] = ()
    streams: bool = False


_BODIES: Mapping[str, Body] = MappingProxyType(
    {
        "/v1/chat/completions": Body(ChatParams, "ChatCompletion", streams=True),
        "/v1/completions": Body(CompletionParams, "Completion", streams=True),
        "/v1/embeddings": Body(EmbeddingsParams, "Embeddings"),
        "/v1/rerank": Body(RerankParams, "Rerank"),
        "/v1/images/generations": Body(ImageParams, "Image"),
        "/v1/audio/speech": Body(openai_audio.SpeechParams, "Speech"),
        "/v1/responses": Body(asked.Params, "Response", asked.HINTS, streams=True),
        "/v1/messages": Body(
            anthropic.MessagesParams, "Message", anthropic.HINTS, ("max_tokens",), streams=True
        ),
        "/v1/messages/count_tokens": Body(
            anthropic.MessagesParams, "CountTokens", anthropic.HINTS
        ),
        "/api/chat": Body(GivenChat, "OllamaChat", streams=True),
        "/api/generate": Body(GivenGenerate, "OllamaGenerate", streams=True),
        "/api/embed": Body(GivenEmbed, "OllamaEmbed"),
        "/api/embeddings": Body(GivenEmbeddings, "OllamaEmbeddings"),
        "/api/show": Body(GivenShow, "OllamaShow"),
    }
)  # fmt: skip
_FORMS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "/v1/audio/transcriptions": openai_audio.TRANSCRIPTION,
        "/v1/audio/translations": openai_audio.TRANSLATION,
    }
)
_BEHIND: Mapping[tuple[str, str], tuple[str, ...]] = MappingProxyType(
    {
        ("/v1/responses/{id}", "get"): ("", "/input_items"),
        ("/v1/responses/{id}", "post"): ("/cancel",),
    }
)
"""What follows a name in the path, where the table has one route for all of it."""

_LISTS = ("timestamp_granularities", "include", "known_speaker_names", "known_speaker_references",
          "keywords", "languages")  # fmt: skip


def document() -> dict[str, Any]:
    """The whole document."""
    components = Components()
    paths: dict[str, dict[str, Any]] = {}
    for route in _routes():
        method = route.method.decode().lower()
        for behind in _BEHIND.get((route.name, method), ("",)):
            operation = _operation(route, method, behind, components)
            paths.setdefault(route.name + behind, {})[method] = operation
    components.add(ModelObject, "Model")
    schemas = {**components.schemas, **_ERROR_SCHEMAS}
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "FLM",
            "version": flm.__version__,
            "description": "The engines of this machine as one API, in OpenAI's, Anthropic's and"
            " Ollama's dialects. docs/api.md tells more. HEAD is served wherever GET is.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [
            {"url": f"http://127.0.0.1:{PORT}", "description": "This machine, as FLM comes."}
        ],
        "tags": [{"name": name, "description": about} for name, about in _TAGS.items()],
        "paths": dict(sorted(paths.items())),
        "components": {
            "securitySchemes": dict(_SECURITY),
            "headers": dict(_HEADERS),
            "responses": {_error_name(dialect): _error(dialect) for dialect in FORMS},
            "schemas": dict(sorted(schemas.items())),
        },
    }


def text() -> str:
    """The document as it lies in `docs/openapi.json`."""
    return json.dumps(document(), indent=1, ensure_ascii=False) + "\n"


def _routes() -> list[Route]:
    table = route_table()
    return [*table.exact.values(), *table.prefixes]


def _operation(route: Route, method: str, behind: str, components: Components) -> dict[str, Any]:
    place = (route.name.strip("/") or "root").replace("{", "").replace("}", "")
    words = [method, *place.split("/")]
    words += [behind.strip("/")] if behind else []
    about = " ".join((route.endpoint.__doc__ or "").split())
    operation: dict[str, Any] = {
        "operationId": "_".join("".join(c if c.isalnum() else "_" for c in w) for w in words if w),
        "tags": [route.dialect if route.permission == "inference" else "public"],
        "summary": about.partition(". ")[0].rstrip("."),
        "security": [{"bearer": []}, {"x-api-key": []}] if route.permission == "inference" else [],
    }
    parameters = _parameters(route, behind)
    if parameters:
        operation["parameters"] = parameters
    content = _request(route, method, components)
    if content:
        operation["requestBody"] = {"required": True, "content": content}
        operation["x-body-limit-bytes"] = route.body_limit
    operation["responses"] = _responses(route, method, components)
    return operation


def _parameters(route: Route, behind: str) -> list[dict[str, Any]]:
    text: Schema = {"type": "string"}
    found: list[dict[str, Any]] = []
    if "{" in route.name:
        name = route.name.partition("{")[2].partition("}")[0]
        about = "It may hold slashes." if route.name == "/v1/models/{id}" else ""
        found.append({"name": name, "in": "path", "required": True, "schema": text}
                     | ({"description": about} if about else {}))  # fmt: skip
    if behind == "/input_items":
        limit = {"type": "integer", "minimum": 1, "maximum": 100, "default": 20}
        found += [
            {"name": "limit", "in": "query", "schema": limit},
            {"name": "order", "in": "query", "schema": {"enum": ["asc", "desc"]}},
            {"name": "after", "in": "query", "schema": text},
        ]
    if route.dialect == "anthropic" or route.name.startswith("/v1/models"):
        found.append({"name": "anthropic-version", "in": "header", "schema": text})
    if route.dialect == "anthropic":
        found.append({"name": "anthropic-beta", "in": "header", "schema": text})
    return found


def _request(route: Route, method: str, components: Components) -> dict[str, Any]:
    if method != "post":
        return {}
    form = _FORMS.get(route.name)
    if form is not None:
        return {"multipart/form-data": {"schema": _form(form)}}
    body = _BODIES.get(route.name)
    if body is None:
        return {}
    components.add(body.struct, body.name)
    schema = components.schemas[body.name]
    schema["required"] = sorted({*schema.get("required", ()), *body.required})
    for name in sorted(body.hints):
        schema["properties"].setdefault(
            name, {"description": "Taken, and dropped: named in x-flm-dropped."}
        )
    if "options" in schema["properties"]:
        components.add(Options)
        schema["properties"]["options"] = {"$ref": "#/components/schemas/OllamaOptions"}
    return {_JSON: {"schema": {"$ref": f"#/components/schemas/{body.name}"}}}


def _form(known: frozenset[str]) -> Schema:
    text: Schema = {"type": "string"}
    special: dict[str, Schema] = {
        "file": {"type": "string", "contentMediaType": "application/octet-stream"},
        "response_format": {"enum": sorted(openai_audio.FORMATS)},
        "temperature": {"type": "number", "minimum": 0, "maximum": 1},
        "stream": {"type": "boolean"},
        **{name: {"type": "array", "items": text} for name in _LISTS},
    }
    properties = {name: special.get(name, text) for name in sorted(known)}
    return {"type": "object", "properties": properties, "required": ["file", "model"]}


def _responses(route: Route, method: str, components: Components) -> dict[str, Any]:
    if route.endpoint.__name__ == "unsupported":
        return {"501": _ref(route.dialect), "default": _ref(route.dialect)}
    if route.endpoint.__name__ == "cancel_response":
        return {"400": _ref(route.dialect), "default": _ref(route.dialect)}
    anything: Schema = {"type": "object"}
    content: dict[str, Any] = {_JSON: {"schema": anything}}
    if route.name == "/v1/models":
        components.add(ModelList, "ModelList")
        content = {_JSON: {"schema": {"$ref": "#/components/schemas/ModelList"}}}
    elif route.name == "/v1/models/{id}":
        content = {_JSON: {"schema": {"$ref": "#/components/schemas/Model"}}}
    elif route.name == "/":
        content = {"text/plain": {"schema": {"const": "Ollama is running"}}}
    elif route.name == "/v1/audio/speech":
        content = {"audio/*": {}, _EVENTS: {"schema": {"type": "string"}}}
    elif route.name in _FORMS:
        content |= {"text/plain": {"schema": {"type": "string"}}}
        content |= {_EVENTS: {"schema": {"type": "string"}}}
    body = _BODIES.get(route.name) if method == "post" else None
    if body is not None and body.streams:
        kind = _LINES if route.dialect == "ollama" else _EVENTS
        content[kind] = {"schema": {"type": "string"}}
    headers = ["x-request-id"]
    if body is not None:
        headers += ["x-flm-dropped"]
    if route.name.endswith("count_tokens"):
        headers += ["x-flm-estimated"]
    good = {
        "description": "As the dialect's own API answers.",
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in headers},
        "content": content,
    }
    if route.permission == "public":
        return {"200": good, "default": _ref(route.dialect)}
    # Of the statuses that differ between dialects: how it says that an engine is full.
    full = FORMS[route.dialect].status(Refusal(*_FULL))
    statuses = ["401", *(["404"] if body or "{" in route.name else [])]
    if body is not None or route.name in _FORMS:
        statuses += ["400", "413", "415", "429", "502", "503", "504", str(full)]
    return {
        "200": good,
        **{status: _ref(route.dialect) for status in sorted(set(statuses))},
        "default": _ref(route.dialect),
    }


def _error_name(dialect: ClientDialect) -> str:
    return f"{dialect.capitalize()}Error"


def _ref(dialect: ClientDialect) -> dict[str, str]:
    return {"$ref": f"#/components/responses/{_error_name(dialect)}"}


def _error(dialect: ClientDialect) -> dict[str, Any]:
    sample = Refusal(*_MISSING, param="model")
    schema = "OpenaiError" if dialect == "responses" else _error_name(dialect)
    headers = ("x-request-id", "retry-after", "x-should-retry")
    return {
        "description": "An error in this dialect's words; docs/errors.md lists them.",
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in headers},
        "content": {
            _JSON: {
                "schema": {"$ref": f"#/components/schemas/{schema}"},
                "example": json.loads(FORMS[dialect].error(sample, "req_0123456789abcdef")),
            }
        },
    }


# Not written as calls: `error_index` would take them for errors that FLM gives.
_FULL = (503, "engine_busy", "")
_MISSING = (404, "model_not_found", "There is no model 'x' here.")

_TEXT: Schema = {"type": "string"}
_NULLABLE: Schema = {"type": ["string", "null"]}
_ERROR_SCHEMAS: Mapping[str, Schema] = MappingProxyType(
    {
        "OpenaiError": {
            "type": "object",
            "required": ["error"],
            "properties": {
                "error": {
                    "type": "object",
                    "required": ["message", "type", "code", "param"],
                    "properties": {
                        "message": _TEXT, "type": _TEXT, "code": _TEXT, "param": _NULLABLE,
                    },
                }
            },
        },
        "AnthropicError": {
            "type": "object",
            "required": ["type", "error", "request_id"],
            "properties": {
                "type": {"const": "error"},
                "error": {
                    "type": "object",
                    "required": ["type", "message"],
                    "properties": {"type": _TEXT, "message": _TEXT},
                },
                "request_id": _TEXT,
            },
        },
        "OllamaError": {
            "type": "object",
            "required": ["error"],
            "properties": {"error": _TEXT},
        },
    }
)  # fmt: skip
_TAGS: Mapping[str, str] = MappingProxyType(
    {
        "openai": "OpenAI's dialect. Base URL with /v1.",
        "responses": "OpenAI's Responses. Base URL with /v1.",
        "anthropic": "Anthropic's dialect. Base URL without /v1.",
        "ollama": "Ollama's dialect. Base URL without anything.",
        "public": "Without a key.",
    }
)
_SECURITY: Mapping[str, Any] = MappingProxyType(
    {
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "description": "Authorization: Bearer flm_…",
        },
        "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
    }
)
_HEADERS: Mapping[str, Any] = MappingProxyType(
    {
        "x-request-id": {
            "description": "Which request it was; `flm logs` knows it.", "schema": _TEXT,
        },
        "x-flm-dropped": {
            "description": "Fields that did not reach the engine, with commas between them.",
            "schema": _TEXT,
        },
        "x-flm-estimated": {
            "description": "The count is a guess: the engine does not count.",
            "schema": {"const": "true"},
        },
        "retry-after": {
            "description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1},
        },
        "x-should-retry": {
            "description": "`false`: the same request would fail again.",
            "schema": {"enum": ["true", "false"]},
        },
    }
)  # fmt: skip
