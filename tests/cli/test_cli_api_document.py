"""`docs/openapi.json`: a valid OpenAPI document, of the routes, fields and errors there are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from flm.cli import api_document
from flm.dialects.client_anthropic.form import KNOWN as ANTHROPIC
from flm.dialects.client_ollama.request import CHAT_KNOWN, GENERATE_KNOWN
from flm.dialects.client_responses.asked import KNOWN as RESPONSES
from flm.dialects.openai_chat import KNOWN as CHAT
from flm.gateway.endpoints.table import route_table

FILE = Path(__file__).parents[2] / "docs" / "openapi.json"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """What lies in `docs`."""
    found: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return found


def test_the_file_is_what_the_code_says() -> None:
    """Else: python -m flm.cli.docs --write."""
    assert FILE.read_text(encoding="utf-8") == api_document.text()


def test_it_is_a_valid_openapi_document(document: dict[str, Any]) -> None:
    """By the specification's own schema; every reference leads somewhere."""
    assert document["openapi"].startswith("3.1.")
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []


def test_its_paths_are_those_of_the_table(document: dict[str, Any]) -> None:
    """Method for method, and what stands behind a response's name one by one."""
    table = route_table()
    routes = {
        (route.name, route.method.decode().lower())
        for route in (*table.exact.values(), *table.prefixes)
    }
    documented = {
        (path, method) for path, methods in document["paths"].items() for method in methods
    }

    assert documented - routes == {
        ("/v1/responses/{id}/input_items", "get"),
        ("/v1/responses/{id}/cancel", "post"),
    }
    assert routes - documented == {("/v1/responses/{id}", "post")}


def test_what_needs_no_key_says_so(document: dict[str, Any]) -> None:
    """Four routes; all others take either of two headers."""
    open_to_all = {
        path
        for path, methods in document["paths"].items()
        for operation in methods.values()
        if operation["security"] == []
    }

    assert open_to_all == {"/health", "/.well-known/flm", "/", "/api/version"}
    assert document["paths"]["/v1/messages"]["post"]["security"] == [
        {"bearer": []},
        {"x-api-key": []},
    ]


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("ChatCompletion", CHAT),
        ("Message", ANTHROPIC - {"thread"}),
        ("CountTokens", ANTHROPIC - {"thread"}),
        ("Response", RESPONSES),
        ("OllamaChat", CHAT_KNOWN),
        ("OllamaGenerate", GENERATE_KNOWN),
    ],
)
def test_every_known_field_is_in_its_schema(
    document: dict[str, Any], name: str, known: frozenset[str]
) -> None:
    """Those that are dropped as well."""
    assert set(document["components"]["schemas"][name]["properties"]) == known


def test_bounds_are_those_that_are_held(document: dict[str, Any]) -> None:
    """Ranges, lengths and what must be there."""
    chat = document["components"]["schemas"]["ChatCompletion"]
    message = document["components"]["schemas"]["Message"]

    assert chat["required"] == ["messages", "model"]
    assert chat["properties"]["temperature"] == {
        "anyOf": [{"type": "number", "minimum": 0, "maximum": 2}, {"type": "null"}]
    }
    assert message["required"] == ["max_tokens", "messages", "model"]
    assert document["components"]["schemas"]["CountTokens"]["required"] == ["messages", "model"]
    assert document["paths"]["/v1/audio/transcriptions"]["post"]["x-body-limit-bytes"] == 104857600


def test_errors_are_those_of_the_dialect(document: dict[str, Any]) -> None:
    """With an example that the gateway's own code wrote."""
    paths, responses = document["paths"], document["components"]["responses"]
    anthropic = responses["AnthropicError"]["content"]["application/json"]

    assert paths["/v1/messages"]["post"]["responses"]["529"] == {
        "$ref": "#/components/responses/AnthropicError"
    }
    assert "529" not in paths["/v1/chat/completions"]["post"]["responses"]
    assert anthropic["example"] == {
        "type": "error",
        "error": {"type": "not_found_error", "message": "There is no model 'x' here."},
        "request_id": "req_0123456789abcdef",
    }
    assert responses["OllamaError"]["content"]["application/json"]["example"] == {
        "error": "There is no model 'x' here."
    }


def test_operations_have_names_of_their_own(document: dict[str, Any]) -> None:
    """Generators of clients make methods of them."""
    names = [
        operation["operationId"]
        for methods in document["paths"].values()
        for operation in methods.values()
    ]

    assert len(names) == len(set(names))
    assert "post_v1_chat_completions" in names


def test_a_schema_of_every_type_can_be_made() -> None:
    """Raw is anything, a Struct within itself a reference."""
    from flm.cli.schemas import Components

    class Leaf(msgspec.Struct):
        """A leaf."""

        raw: msgspec.Raw = msgspec.Raw(b"")
        several: tuple[int, ...] = ()
        named: dict[str, float] | None = None

    components = Components()

    assert components.add(Leaf, "Leaf") == "Leaf"
    assert components.schemas["Leaf"] == {
        "type": "object",
        "description": "A leaf.",
        "properties": {
            "raw": {},
            "several": {"type": "array", "items": {"type": "integer"}},
            "named": {
                "anyOf": [
                    {"type": "object", "additionalProperties": {"type": "number"}},
                    {"type": "null"},
                ]
            },
        },
    }
