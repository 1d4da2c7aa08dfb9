"""OpenAI's chat completions as a client sends them: judged, and left as they came.

Everything an engine needs goes on as raw JSON (`ChatRequest.fields`); what FLM decides by, and
what a translation reads, is decoded once (`ChatRequest.params`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from flm.dialects.media import Part

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
