"""Pictures: asked of engines as themselves, given to clients as they want them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from dialects_recorded import OPENAI_TARGET
from openai.types import ImagesResponse

from flm.dialects.codec import Usage
from flm.dialects.openai_images import ImageRequest, image_answer, image_call, parse_image
from flm.domain.policy import Policy
from flm.errors import EngineError, Refusal

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAAB"


def asked(**fields: Any) -> ImageRequest:
    """A request with these fields."""
    whole = {"model": "mine", "prompt": "a cat", **fields}
    return parse_image(json.dumps(whole).encode(), Policy())


def answered(request: ImageRequest, body: object) -> dict[str, Any]:
    """What a client gets of that answer."""
    answer = image_answer(request, OPENAI_TARGET, json.dumps(body).encode())
    return dict(json.loads(answer.body))


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"prompt": ""}, "prompt", "invalid_value"),
        ({"n": 11}, "n", "invalid_value"),
        ({"size": "big"}, "size", "invalid_value"),
        ({"response_format": "png"}, "response_format", "invalid_value"),
        ({"stream": True}, "stream", "unsupported_parameter"),
        ({"partial_images": 2}, "partial_images", "unsupported_parameter"),
    ],
)
def test_values_out_of_range_are_refused(fields: dict[str, Any], param: str, code: str) -> None:
    """400 with the field at fault."""
    with pytest.raises(Refusal) as caught:
        asked(**fields)
    assert (caught.value.status, caught.value.code) == (400, code)
    assert caught.value.param == param


def test_the_engine_is_asked_for_the_picture_itself() -> None:
    """Whatever the client wants: a URL of the engine's would be of no use to it."""
    call = image_call(asked(response_format="url", size="512x512", steps=9), OPENAI_TARGET)
    assert call.path == "/v1/images/generations"
    assert json.loads(call.body) == {
        "model": "tiny-llama", "prompt": "a cat", "response_format": "b64_json",
        "size": "512x512", "steps": 9,
    }  # fmt: skip


@pytest.mark.parametrize("given", [{"b64_json": PNG}, {"url": f"data:image/png;base64,{PNG}"}])
@pytest.mark.parametrize(
    ("wanted", "place", "expected"),
    [
        (None, "b64_json", PNG),
        ("b64_json", "b64_json", PNG),
        ("url", "url", f"data:image/png;base64,{PNG}"),
    ],
)
def test_a_picture_comes_as_it_is_wanted(
    given: dict[str, str], wanted: str | None, place: str, expected: str
) -> None:
    """In base64, or as a data: URL; what is said beside it stays."""
    body = {"created": 1, "data": [{**given, "revised_prompt": "猫"}]}
    ours = answered(asked(response_format=wanted), body)
    ImagesResponse.model_validate(ours)
    assert ours == {"created": 1, "data": [{"revised_prompt": "猫", place: expected}]}


def test_tokens_are_counted_where_they_are_told() -> None:
    """By OpenAI's names for them."""
    body = {"data": [{"b64_json": PNG}], "usage": {"input_tokens": 4, "output_tokens": 9}}
    answer = image_answer(asked(), OPENAI_TARGET, json.dumps(body).encode())
    assert answer.usage == Usage(4, 9)


@pytest.mark.parametrize(
    "body",
    [
        {"data": [{"url": "http://127.0.0.1:8080/generated/1.png"}]},
        {"data": [{}]},
        {"data": [{"b64_json": 3}]},
        {"data": None},
        {"error": "out of memory"},
    ],
)
def test_what_is_no_picture_is_an_error(body: object) -> None:
    """A URL inside the engine's network among it."""
    with pytest.raises(EngineError) as caught:
        answered(asked(), body)
    assert "127.0.0.1" not in caught.value.message
