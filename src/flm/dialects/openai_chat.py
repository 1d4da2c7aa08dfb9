"""OpenAI's chat completions as a client sends them: judged, and left as they came.

Everything an engine needs goes on as raw JSON (`ChatRequest.fields`); what FLM decides by, and
what a translation reads, is decoded once (`ChatRequest.params`).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from flm.dialects.judging import judged
from flm.dialects.media import Part, check_part, remote_image
from flm.dialects.openai_embeddings import EmbeddingsRequest, parse_embeddings
from flm.domain.policy import Policy

__all__ = [
    "ChatParams",
    "ChatRequest",
    "EmbeddingsRequest",
    "Message",
    "parse_chat",
    "parse_embeddings",
]

Penalty = Annotated[float, Meta(ge=-2, le=2)]
Tokens = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Raw = msgspec.Raw
NO_RAW = msgspec.Raw()


class Message(msgspec.Struct, gc=False):
    """What is judged of a message: who speaks, and that its parts fetch nothing.

    ``tool_calls`` is looked at, and never judged.
    """

    role: Annotated[str, Meta(min_length=1, max_length=64)]
    content: str | list[Part] | None = None
    tool_calls: Raw = NO_RAW


class StreamOptions(msgspec.Struct):
    """`stream_options`; engines have more of them."""

    include_usage: bool | None = None


class Tool(msgspec.Struct):
    """What is judged of a tool: that it is an object."""

    type: str | None = None


class ResponseFormat(msgspec.Struct):
    """`response_format`. ``schema`` is llama.cpp's spelling beside `json_object`."""

    type: str
    json_schema: Raw = NO_RAW
    schema: Raw = NO_RAW


class ChatParams(msgspec.Struct, kw_only=True, gc=False):
    """The fields of OpenAI's chat completions, range-checked. None: absent or null."""

    model: Annotated[str, Meta(min_length=1, max_length=512)]
    messages: Annotated[list[Message], Meta(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    n: Annotated[int, Meta(ge=1, le=128)] | None = None
    max_tokens: Tokens | None = None
    max_completion_tokens: Tokens | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    logit_bias: Raw = NO_RAW
    stop: str | Annotated[list[str], Meta(max_length=16)] | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    tools: list[Tool] | None = None
    tool_choice: str | dict[str, Raw] | None = None
    parallel_tool_calls: bool | None = None
    functions: list[Tool] | None = None
    function_call: str | dict[str, Raw] | None = None
    response_format: ResponseFormat | None = None
    reasoning_effort: str | None = None
    verbosity: str | None = None
    modalities: list[str] | None = None
    audio: dict[str, Raw] | None = None
    prediction: dict[str, Raw] | None = None
    web_search_options: dict[str, Raw] | None = None
    user: str | None = None
    metadata: dict[str, Raw] | None = None
    store: bool | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None


class ChatRequest(msgspec.Struct, frozen=True):
    """A chat request that may be sent to an engine.

    ``fields``: every top-level field as it came, without those in ``dropped``; ``params``: the
    known ones decoded (of ``messages`` what is judged of them); ``model``: the name the client
    used, and reads in the answer; ``include_usage``: whether it wants the usage chunk; ``images``
    and ``tools``: what the engine must be able to do; ``options``: the engine's, which a profile
    of the owner's gives (`domain.parameters.OPTIONS`) and no client; ``remote_media``: it holds
    URLs of images, which FLM must fetch before any engine is asked.
    """

    model: str
    stream: bool
    include_usage: bool
    images: bool
    tools: bool
    fields: dict[str, Raw]
    params: ChatParams
    dropped: tuple[str, ...] = ()
    options: Mapping[str, Any] = {}
    remote_media: bool = False


KNOWN = frozenset(ChatParams.__struct_fields__)
_NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})
_decode_params = msgspec.json.Decoder(ChatParams).decode


def parse_chat(
    body: bytes, policy: Policy, *, remote: bool = False, fields: dict[str, Raw] | None = None
) -> ChatRequest:
    """The chat request in `body`. ``remote``: URLs of images may stay (``remote_media``);
    ``fields``: what `decode_object` made of `body`, where that was done before.

    Raises `Refusal` 400: `invalid_json`; `missing_required_parameter` and `invalid_value` with
    the field in ``param``; `dangerous_parameter`; `unknown_parameter` as the policy says;
    `unsupported_image_url`. What people wrote is never judged.
    """
    fields, params, dropped = judged(body, _decode_params, KNOWN, policy, fields)
    images, remote_media = _media(params.messages, remote)
    options = params.stream_options
    return ChatRequest(
        params.model,
        params.stream is True,
        options is not None and options.include_usage is True,
        images,
        bool(params.tools),
        fields,
        params,
        dropped,
        _NO_OPTIONS,
        remote_media,
    )


def _media(messages: list[Message], remote: bool) -> tuple[bool, bool]:
    """Whether there are images among the messages, and URLs of them; raises as `parse_chat`."""
    images = far = False
    for index, message in enumerate(messages):
        content = message.content
        if isinstance(content, list):
            for place, part in enumerate(content):
                where = f"messages[{index}].content[{place}]"
                images |= check_part(part, where, remote=remote)
                far = far or (remote and remote_image(part) is not None)
    return images, far
