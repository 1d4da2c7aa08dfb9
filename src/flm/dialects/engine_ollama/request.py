"""A chat request of OpenAI's dialect as a body for Ollama's `/api/chat`.

Nothing is lost in silence: what Ollama cannot do is refused when it would change the answer,
and dropped and named when it is a hint.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from flm.dialects.body import UNREADABLE, first_byte
from flm.dialects.engine_ollama.messages import translate
from flm.dialects.engine_ollama.options import (
    OPTIONS,
    add_native,
    refuse_bias,
    translated,
    unsupported,
)
from flm.dialects.fields import shown
from flm.dialects.openai_chat import NO_RAW, ChatParams, ChatRequest
from flm.errors import Refusal
from flm.wire.snapshot import Target

Raw = msgspec.Raw

_encode = msgspec.json.Encoder().encode
_decode_object = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_effort = msgspec.json.Decoder(str | None).decode

_OTHER_NAMES = {"repetition_penalty": "repeat_penalty"}

HINTS = frozenset(
    {
        "user", "metadata", "store", "parallel_tool_calls", "service_tier", "verbosity",
        "prediction", "safety_identifier", "prompt_cache_key", "prompt_cache_retention",
    }
)  # fmt: skip
"""Known fields that never change what is answered: dropped and named."""

MEANINGFUL = frozenset(
    {
        # known to OpenAI
        "functions", "function_call", "audio", "web_search_options",
        # what other engines take at the top level and what shapes or bounds the answer
        "grammar", "json_schema", "structured_outputs", "guided_json", "guided_regex",
        "guided_choice", "guided_grammar", "best_of", "use_beam_search", "stop_token_ids",
        "ignore_eos", "bad_words", "allowed_token_ids", "min_tokens", "n_predict", "prompt",
        "suffix", "echo", "continue_final_message", "add_generation_prompt", "documents",
        "truncate_prompt_tokens", "chat_template", "chat_template_kwargs", "thinking",
        "enable_thinking", "xtc_probability", "xtc_threshold", "dry_multiplier", "top_a",
        "dynatemp_range", "samplers", "plugins", "web_search",
    }
)  # fmt: skip
"""Fields that Ollama has nothing for and that change the answer: refused."""

_TRANSLATED = frozenset(
    {
        "model", "messages", "stream", "stream_options", "temperature", "top_p", "n", "seed",
        "stop", "max_tokens", "max_completion_tokens", "presence_penalty", "frequency_penalty",
        "logprobs", "top_logprobs", "logit_bias", "tools", "tool_choice", "response_format",
        "reasoning_effort", "reasoning", "modalities", "keep_alive", "think", "format", "options",
    }
)  # fmt: skip

_EFFORTS: dict[str, bool | str] = {
    "none": False,
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "max": "max",
    "xhigh": "max",
    "ultra": "max",
}


class ChatBody(msgspec.Struct, omit_defaults=True):
    """The body of `/api/chat`. What has no default is always sent.

    ``truncate`` and ``shift`` are off: Ollama would cut a prompt that does not fit in silence.
    """

    model: str
    messages: list[object]
    stream: bool
    truncate: bool
    shift: bool
    options: dict[str, object] = {}
    tools: Raw | None = None
    format: Raw | str | None = None
    think: bool | str | Raw | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    keep_alive: Raw | str | int | None = None


def chat_body(request: ChatRequest, target: Target) -> tuple[bytes, tuple[str, ...]]:
    """The body for `request`, and the names of the fields that were dropped.

    Raises `Refusal` 400: `unsupported_parameter` and `unsupported_modalities` for what Ollama
    cannot do, `invalid_value` for what is wrong.
    """
    params, fields = request.params, request.fields
    limit = params.max_completion_tokens
    _refuse_unsupported(params)
    messages, lost = translate(request.fields["messages"])
    dropped = [*request.dropped, *lost]
    body = ChatBody(
        model=target.model,
        messages=list(messages),
        stream=request.stream,
        truncate=False,
        shift=False,
        options=translated(params, params.max_tokens if limit is None else limit, target),
        tools=_tools(request),
        format=_format(params),
        think=_think(request, target, dropped),
        logprobs=params.logprobs,
        top_logprobs=params.top_logprobs,
        keep_alive=fields.get("keep_alive"),
    )
    if body.format is None:
        body.format = _given(fields, "format")
    for name in fields.keys() - _TRANSLATED:
        _place(name, fields[name], body.options, dropped)
    if "options" in fields:
        add_native(fields["options"], body.options, dropped)
    _owners_options(request.options, body)
    return _encode(body), tuple(sorted(set(dropped)))


def _refuse_unsupported(params: ChatParams) -> None:
    if params.n is not None and params.n > 1:
        raise unsupported("n", "gives one answer to a request: leave 'n' out, or send it again")
    refuse_bias(params)
    if params.modalities is not None and any(mode != "text" for mode in params.modalities):
        raise unsupported("modalities", "answers with text only")
    choice = params.tool_choice
    if choice is not None and choice not in ("none", "auto"):
        raise unsupported("tool_choice", "cannot be made to call a tool: use 'auto' or 'none'")
    for index, tool in enumerate(params.tools or ()):
        if tool.type not in (None, "function"):
            raise unsupported(f"tools[{index}].type", "takes tools of type 'function' only")


def _tools(request: ChatRequest) -> Raw | None:
    if not request.tools or request.params.tool_choice == "none":
        return None
    return request.fields["tools"]


def _format(params: ChatParams) -> Raw | str | None:
    wanted = params.response_format
    if wanted is None or wanted.type == "text":
        return None
    if wanted.type == "json_object":
        return wanted.schema if bytes(wanted.schema) else "json"
    if wanted.type != "json_schema":
        raise unsupported("response_format.type", "knows 'text', 'json_object' and 'json_schema'")
    schema = wanted.json_schema
    try:
        found = _decode_object(schema).get("schema") if bytes(schema) else None
    except msgspec.ValidationError:
        found = None
    if found is None or first_byte(found) != b"{":
        name = "response_format.json_schema.schema"
        raise Refusal(
            400, "missing_required_parameter", f"Missing required parameter: '{name}'.", param=name
        )
    return found


def _think(request: ChatRequest, target: Target, dropped: list[str]) -> bool | str | Raw | None:
    """How hard to think. A model that is known not to is spared the question, which it would
    refuse: the effort is a hint to it.
    """
    native = _given(request.fields, "think")
    if native is not None:
        return native
    name, effort = _effort(request)
    if effort is None:
        return None
    if effort not in _EFFORTS:
        known = ", ".join(_EFFORTS)
        raise Refusal(
            400,
            "invalid_value",
            f"Invalid value for '{name}': expected one of {known}.",
            param=name,
        )
    think = _EFFORTS[effort]
    if think and target.capabilities and "reasoning" not in target.capabilities:
        dropped.append(name)
        return None
    return think


def _effort(request: ChatRequest) -> tuple[str, str | None]:
    effort = request.params.reasoning_effort
    if effort is not None:
        return "reasoning_effort", effort
    raw = _given(request.fields, "reasoning")
    try:
        effort = _decode_effort(_decode_object(raw).get("effort", b"null")) if raw else None
    except UNREADABLE as error:
        raise Refusal(
            400,
            "invalid_value",
            "Invalid value for 'reasoning': expected an object.",
            param="reasoning",
        ) from error
    return "reasoning.effort", effort


def _given(fields: dict[str, Raw], name: str) -> Raw | None:
    raw = fields.get(name, NO_RAW)
    return None if bytes(raw) in (b"", b"null") else raw


def _place(name: str, raw: Raw, options: dict[str, object], dropped: list[str]) -> None:
    """A field without a translation: an option, a refusal, or dropped and named."""
    if bytes(raw) == b"null":
        return
    name_there = _OTHER_NAMES.get(name, name)
    if name_there in OPTIONS:
        options[name_there] = raw
    elif name in MEANINGFUL:
        raise unsupported(name, f"has no '{name}'")
    else:
        dropped.append(shown(name))


def _owners_options(options: Mapping[str, Any], body: ChatBody) -> None:
    """What the owner's profile says goes before what a client wrote."""
    for name, value in options.items():
        if name == "keep_alive":
            body.keep_alive = value
        else:
            body.options[name] = value
