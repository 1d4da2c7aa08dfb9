"""A Messages request, judged and in OpenAI's words."""

from __future__ import annotations

from typing import Any

import msgspec

from flm.dialects.body import first_byte
from flm.dialects.client_anthropic import messages, tools
from flm.dialects.client_anthropic.form import (
    KNOWN,
    MEANINGFUL,
    MessagesParams,
    OutputFormat,
    Thinking,
)
from flm.dialects.client_anthropic.notes import Notes
from flm.dialects.judging import judged
from flm.dialects.openai_chat import ChatParams, ChatRequest, ResponseFormat, StreamOptions
from flm.dialects.openai_chat import Message as JudgedMessage
from flm.dialects.openai_chat import Tool as JudgedTool
from flm.domain.policy import Policy
from flm.errors import Refusal

Raw = msgspec.Raw

_decode_params = msgspec.json.Decoder(MessagesParams).decode
_decode_judged = msgspec.json.Decoder(list[JudgedMessage]).decode
_encode = msgspec.json.Encoder().encode
_NULL = b"null"

_EFFORTS = {"low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high"}
"""Levels beyond `high` are Claude's own: engines that know three would refuse them."""

_NEVER_PASSED = ("mcp_servers", "betas")
"""Engines are told of no other servers, and betas belong into a header."""

_LITTLE, _SOME = 4096, 16384
"""Tokens of thought up to which the effort is low, and medium."""


class Judged(msgspec.Struct, frozen=True):
    """A request ready to be sent. ``chat``: in OpenAI's words. ``fields``: as it came, for engines
    that speak this dialect, without those ``held_back``; ``plain``: whether they understand all of
    it; ``readable``: whether they understand its content at least. ``stops``: what ends the answer.
    """

    chat: ChatRequest
    fields: dict[str, Raw]
    held_back: tuple[str, ...]
    plain: bool
    readable: bool
    stops: tuple[str, ...]


def judge(body: bytes, policy: Policy, *, remote: bool, counting: bool) -> Judged:
    """The request in `body`. ``remote``: URLs of images may stay (`ChatRequest.remote_media`);
    ``counting``: it is one for `count_tokens`, which needs no `max_tokens`.

    Raises `Refusal` 400: `invalid_json`, `missing_required_parameter`, `invalid_value`,
    `dangerous_parameter`, `unknown_parameter` as the policy says, `unsupported_parameter`,
    `unsupported_modalities`, `unsupported_image_url`. What people wrote is never judged.
    """
    fields, params, lost = judged(body, _decode_params, KNOWN, policy)
    if params.max_tokens is None and not counting:
        name = "max_tokens"
        raise Refusal(
            400, "missing_required_parameter", f"Missing required parameter: '{name}'.", param=name
        )
    notes = Notes(remote)
    for name in lost:
        notes.drop(name)
    held_back = (*lost, *_sort_out(fields, notes))
    said = messages.translate(params.system, params.messages, notes)
    offered = tools.functions(params.tools or [], notes)
    readable = notes.plain
    chosen, parallel = tools.choice(params.tool_choice, offered, notes)
    chat_fields = {
        "model": params.model,
        "messages": Raw(_encode(said)),
        "stream": True if params.stream else None,
        "max_tokens": params.max_tokens,
        "temperature": params.temperature,
        "top_p": params.top_p,
        "top_k": params.top_k,
        "stop": params.stop_sequences or None,
        "tools": Raw(_encode(offered)) if offered else None,
        "tool_choice": chosen,
        "parallel_tool_calls": parallel,
        "response_format": _response_format(params, notes),
        "reasoning_effort": _effort(params, notes),
    }
    return Judged(
        _chat(params, chat_fields, notes),
        fields,
        held_back,
        notes.plain,
        readable,
        tuple(params.stop_sequences or ()),
    )


def _sort_out(fields: dict[str, Raw], notes: Notes) -> tuple[str, ...]:
    """Name the fields that have no place in OpenAI's dialect, and take those away that no engine
    is given; which these are. Raises `Refusal` 400 for one that the answer depends on.
    """
    for name in fields.keys() - MessagesParams.__struct_fields__:
        if bytes(memoryview(fields[name])[:4]) == _NULL:
            continue
        if name in MEANINGFUL:
            raise Refusal(
                400,
                "unsupported_parameter",
                f"FLM keeps no conversations for '{name}': send all messages.",
                param=name,
            )
        notes.drop(name)
    held_back = tuple(name for name in _NEVER_PASSED if name in fields)
    for name in held_back:
        del fields[name]
    return held_back


def _chat(params: MessagesParams, given: dict[str, Any], notes: Notes) -> ChatRequest:
    raw = given["messages"]
    streamed = params.stream is True
    form = given["response_format"]
    return ChatRequest(
        model=params.model,
        stream=streamed,
        include_usage=streamed,
        images=notes.images,
        tools=given["tools"] is not None,
        fields={
            name: value if isinstance(value, Raw) else Raw(_encode(value))
            for name, value in given.items()
            if value is not None
        },
        params=ChatParams(
            model=params.model,
            messages=_decode_judged(raw),
            stream=params.stream,
            stream_options=StreamOptions(True) if streamed else None,
            temperature=params.temperature,
            top_p=params.top_p,
            max_tokens=params.max_tokens,
            stop=given["stop"],
            tools=None if given["tools"] is None else [JudgedTool("function")],
            tool_choice=_as_raws(given["tool_choice"]),
            parallel_tool_calls=given["parallel_tool_calls"],
            response_format=None
            if form is None
            else ResponseFormat("json_schema", Raw(_encode(form["json_schema"]))),
            reasoning_effort=given["reasoning_effort"],
        ),
        dropped=tuple(sorted(notes.dropped)),
        remote_media=notes.remote_media,
    )


def _as_raws(choice: str | dict[str, Any] | None) -> str | dict[str, Raw] | None:
    if isinstance(choice, dict):
        return {name: Raw(_encode(value)) for name, value in choice.items()}
    return choice


def _response_format(params: MessagesParams, notes: Notes) -> dict[str, Any] | None:
    form: OutputFormat | None = params.output_format
    if params.output_config is not None and params.output_config.format is not None:
        form = params.output_config.format
    if form is None:
        return None
    notes.plain = False  # llama.cpp leaves it aside without a word
    if first_byte(form.schema) != b"{":
        raise Refusal(
            400,
            "invalid_value",
            "Invalid value for 'output_config.format.schema': expected an object.",
            param="output_config.format.schema",
        )
    schema = {"name": "output", "schema": form.schema, "strict": True}
    return {"type": "json_schema", "json_schema": schema}


def _effort(params: MessagesParams, notes: Notes) -> str | None:
    """How hard to think; None when nothing was said of it."""
    config, thinking = params.output_config, params.thinking
    effort = None
    if config is not None:
        if first_byte(config.task_budget) == b"{":
            notes.drop("output_config.task_budget")
        if config.effort is not None:
            notes.plain = False  # not every engine looks at it in this dialect
            effort = _EFFORTS[config.effort]
    if thinking is None:
        return effort
    if thinking.display is not None:
        notes.drop("thinking.display")
    return _thinking(thinking, effort, notes)


def _thinking(thinking: Thinking, effort: str | None, notes: Notes) -> str | None:
    if thinking.type == "disabled":
        notes.plain = False  # the same
        return "none"
    if thinking.type == "enabled":
        budget = thinking.budget_tokens
        if budget is None:
            name = "thinking.budget_tokens"
            raise Refusal(
                400,
                "missing_required_parameter",
                f"Missing required parameter: '{name}'.",
                param=name,
            )
        by_budget = "low" if budget <= _LITTLE else "medium" if budget <= _SOME else "high"
        return effort or by_budget
    if thinking.type not in ("adaptive", "between_tools"):
        raise Refusal(
            400,
            "invalid_value",
            "Invalid value for 'thinking.type': expected 'enabled', 'adaptive' or 'disabled'.",
            param="thinking.type",
        )
    return effort
