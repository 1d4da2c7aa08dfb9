"""OpenAI's image generation as a client sends it.

Engines are asked for the picture itself, never for a URL of theirs: it would lead to an address
that the client cannot reach and is not to know. A client that wants a URL gets a `data:` URL.
"""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from flm.dialects.body import UNREADABLE
from flm.dialects.codec import Count, EngineAnswer, EngineCall, Usage
from flm.dialects.engine_errors import bad_answer
from flm.dialects.judging import judged
from flm.dialects.passing import Fields, answer_fields, for_engine
from flm.domain.policy import Policy
from flm.errors import Refusal
from flm.wire.snapshot import Target

Raw = msgspec.Raw
_encode = msgspec.json.Encoder().encode


class ImageParams(msgspec.Struct, kw_only=True):
    """The fields of OpenAI's image generation that are judged. None: absent or null."""

    model: Annotated[str, Meta(min_length=1, max_length=512)]
    prompt: Annotated[str, Meta(min_length=1)]
    n: Annotated[int, Meta(ge=1, le=10)] | None = None
    size: Annotated[str, Meta(pattern=r"^(auto|[0-9]{1,5}x[0-9]{1,5})$")] | None = None
    response_format: Literal["url", "b64_json"] | None = None
    stream: bool | None = None
    partial_images: Annotated[int, Meta(ge=0, le=3)] | None = None
    quality: str | None = None
    style: str | None = None
    background: str | None = None
    moderation: str | None = None
    output_format: str | None = None
    output_compression: Annotated[int, Meta(ge=0, le=100)] | None = None
    user: str | None = None


class ImageRequest(msgspec.Struct, frozen=True):
    """A picture that may be asked of an engine. ``as_url``: the client wants a URL."""

    model: str
    as_url: bool
    fields: Fields
    dropped: tuple[str, ...] = ()


class _Tokens(msgspec.Struct):
    """OpenAI's words for the usage of pictures."""

    input_tokens: Count | None = None
    output_tokens: Count | None = None


KNOWN = frozenset(ImageParams.__struct_fields__)
_decode_params = msgspec.json.Decoder(ImageParams).decode
_decode_data = msgspec.json.Decoder(list[Fields]).decode
_decode_tokens = msgspec.json.Decoder(_Tokens).decode
_decode_text = msgspec.json.Decoder(str).decode
_SIGNS = (
    (b"\x89PNG", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"RIFF", "image/webp"),
    (b"GIF8", "image/gif"),
)


def parse_image(body: bytes, policy: Policy) -> ImageRequest:
    """The request in `body`. Raises `Refusal` 400 as `parse_chat` does."""
    fields, params, dropped = judged(body, _decode_params, KNOWN, policy)
    if params.stream or params.partial_images:
        name = "stream" if params.stream else "partial_images"
        raise Refusal(
            400,
            "unsupported_parameter",
            f"Pictures come whole here: leave '{name}' out.",
            param=name,
        )
    return ImageRequest(params.model, params.response_format == "url", fields, dropped)


def image_call(request: ImageRequest, target: Target) -> EngineCall:
    """The request for an engine: the same fields, but always for the picture itself."""
    fields = {
        **for_engine(request.fields, request.model, target),
        "response_format": Raw(b'"b64_json"'),
    }
    return EngineCall("/v1/images/generations", _encode(fields), request.dropped)


def image_answer(request: ImageRequest, target: Target, body: bytes) -> EngineAnswer:
    """The pictures as the client wants them. Raises `EngineError` for what is no answer."""
    fields = answer_fields(body, target)
    try:
        pictures = _decode_data(fields.get("data", b"null"))
        for picture in pictures:
            _place(picture, request.as_url)
    except UNREADABLE as error:
        raise bad_answer("it is no list of pictures") from error
    fields["data"] = Raw(_encode(pictures))
    return EngineAnswer(_encode(fields), _usage(fields.get("usage")))


def _place(picture: Fields, as_url: bool) -> None:
    """Put the picture where the client looks for it."""
    found = picture.pop("b64_json", None)
    url = picture.pop("url", None)
    data = "" if found is None or bytes(found) == b"null" else _decode_text(found)
    if not data and url is not None:
        head, _, data = _decode_text(url).partition(",")
        if not head.lower().startswith("data:"):
            data = ""
    if not data:
        raise bad_answer("it does not hold the picture itself")
    if as_url:
        picture["url"] = Raw(_encode(f"data:{_kind(data)};base64,{data}"))
    else:
        picture["b64_json"] = Raw(_encode(data))


def _kind(data: str) -> str:
    try:
        start = base64.b64decode(data[:16], validate=True)
    except (binascii.Error, ValueError) as error:
        raise bad_answer("a picture is no base64") from error
    for sign, kind in _SIGNS:
        if start.startswith(sign):
            return kind
    return "application/octet-stream"


def _usage(raw: Raw | None) -> Usage | None:
    try:
        told = _decode_tokens(raw) if raw is not None else None
    except msgspec.DecodeError:
        return None
    return None if told is None else Usage(told.input_tokens, told.output_tokens)
