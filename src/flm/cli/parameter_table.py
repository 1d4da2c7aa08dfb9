"""Which parameter goes where: asked of the dialects themselves, with one value for each.

A request without the parameter and one with it are made ready for an engine; what differs is
where it went. So the table cannot say what the code does not do.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from flm.dialects.chat_parsing import parse_chat
from flm.dialects.client_anthropic import form as anthropic
from flm.dialects.client_anthropic.conversation import parse_messages
from flm.dialects.client_ollama.conversation import OllamaConversation
from flm.dialects.client_ollama.conversation import parse_chat as parse_ollama
from flm.dialects.client_responses import asked
from flm.dialects.client_responses.asked import parse_responses
from flm.dialects.client_responses.conversation import ResponsesConversation
from flm.dialects.codec import EngineCall
from flm.dialects.conversation import Conversation
from flm.dialects.engine import CODECS
from flm.dialects.openai_chat import ChatRequest
from flm.domain.policy import Policy
from flm.domain.traits import ClientDialect
from flm.errors import N_, Refusal
from flm.language import Words
from flm.wire.snapshot import Target

SAME = N_("as it is")
DROPPED = N_("dropped")
KEPT_HERE = N_("by FLM")

_OPENAI = Target(id="e/m", engine="e", model="m", dialect="openai")
_NATIVE = Target(
    id="e/m", engine="e", model="m", dialect="openai", native=("messages", "count_tokens")
)
_OLLAMA = Target(
    id="ollama/m", engine="ollama", model="m", dialect="ollama", capabilities=("reasoning",)
)
_HI = [{"role": "user", "content": "hi"}]
_SCHEMA = {"type": "object"}
_TOOL = {"type": "function", "function": {"name": "f", "parameters": _SCHEMA}}


_SHOWN = frozenset(
    {
        "metadata",
        "service_tier",
        "cache_control",
        "context_management",
        "container",
        "mcp_servers",
        "betas",
    }
)
"""Hints of Anthropic's with a value of their own below."""


class Table(NamedTuple):
    """A dialect's parameters. ``values``: one for each; ``with_it``: what a parameter makes sense
    with only; ``columns``: headings, and the engines asked.
    """

    dialect: ClientDialect
    base: Mapping[str, Any]
    values: Mapping[str, Any]
    with_it: Mapping[str, Mapping[str, Any]]
    columns: Sequence[tuple[str, Callable[[bytes], EngineCall]]]


def _chat(request: ChatRequest, target: Target) -> EngineCall:
    return CODECS[target.dialect].chat(request, target)


def _conversed(
    parse: Callable[[bytes], Conversation], target: Target
) -> Callable[[bytes], EngineCall]:
    def call(body: bytes) -> EngineCall:
        conversation = parse(body)
        native = conversation.native(target)
        return _chat(conversation.chat, target) if native is None else native.call(target)

    return call


def _of_chat(target: Target) -> Callable[[bytes], EngineCall]:
    return lambda body: _chat(parse_chat(body, Policy()), target)


def _responses(body: bytes) -> Conversation:
    policy = Policy()
    return ResponsesConversation(parse_responses(body, policy), policy)


def _messages(body: bytes) -> Conversation:
    return parse_messages(body, Policy())


def _ollama(body: bytes) -> Conversation:
    conversation = parse_ollama(body, Policy(), lambda: 0.0)
    assert isinstance(conversation, OllamaConversation)
    return conversation


_ANY = N_("Engines of OpenAI's dialect")
_SPEAKS = N_("Engines that speak it")

TABLES: tuple[Table, ...] = (
    Table(
        "openai",
        {"messages": _HI},
        {
            "stream": True, "stream_options": {"include_usage": True}, "temperature": 0.5,
            "top_p": 0.5, "n": 2, "max_tokens": 9, "max_completion_tokens": 9,
            "presence_penalty": 0.5, "frequency_penalty": 0.5, "logprobs": True,
            "top_logprobs": 2, "logit_bias": {"1": 1}, "stop": ["x"], "seed": 7,
            "tools": [_TOOL], "tool_choice": "required", "parallel_tool_calls": False,
            "functions": [{"name": "f"}], "function_call": "auto",
            "response_format": {"type": "json_object"}, "reasoning_effort": "high",
            "verbosity": "low", "modalities": ["text", "audio"], "audio": {"voice": "x"},
            "prediction": {"type": "content"}, "web_search_options": {}, "user": "u",
            "metadata": {"k": "v"}, "store": True, "service_tier": "auto",
            "safety_identifier": "s", "prompt_cache_key": "k", "prompt_cache_retention": "24h",
            # Not OpenAI's, and known to many engines.
            "top_k": 5, "min_p": 0.1, "repeat_penalty": 1.1, "repetition_penalty": 1.1,
            "mirostat": 1, "keep_alive": "5m", "think": True, "format": "json",
            "options": {"top_k": 5}, "grammar": "x", "guided_json": {}, "unheard_of": 1,
        },
        {
            "stream_options": {"stream": True}, "top_logprobs": {"logprobs": True},
            "tool_choice": {"tools": [_TOOL]}, "parallel_tool_calls": {"tools": [_TOOL]},
            "function_call": {"functions": [{"name": "f"}]},
        },
        ((_ANY, _of_chat(_OPENAI)), ("Ollama", _of_chat(_OLLAMA))),
    ),
    Table(
        "responses",
        {"input": "hi"},
        {
            "instructions": "be brief", "previous_response_id": "resp_1", "store": False,
            "stream": True, "stream_options": {"include_obfuscation": False},
            "include": ["reasoning.encrypted_content"],
            "reasoning": {"effort": "high", "summary": "auto"},
            "text": {"format": {"type": "json_object"}},
            "tools": [{"type": "function", "name": "f", "parameters": _SCHEMA}],
            "tool_choice": "required", "parallel_tool_calls": False, "max_output_tokens": 9,
            "max_tool_calls": 2, "temperature": 0.5, "top_p": 0.5, "top_logprobs": 2,
            "truncation": "auto", "metadata": {"k": "v"}, "user": "u", "safety_identifier": "s",
            "prompt_cache_key": "k", "service_tier": "auto", "background": True,
            "conversation": "conv_1", "prompt": {"id": "pmpt_1"}, "stop": ["x"], "seed": 7, "n": 2,
            **dict.fromkeys(sorted(asked.HINTS), "x"),
        },
        {
            name: {"tools": [{"type": "function", "name": "f", "parameters": _SCHEMA}]}
            for name in ("tool_choice", "parallel_tool_calls")
        },
        ((_ANY, _conversed(_responses, _OPENAI)), ("Ollama", _conversed(_responses, _OLLAMA))),
    ),
    Table(
        "anthropic",
        {"messages": _HI, "max_tokens": 9},
        {
            "max_tokens": 8, "system": "be brief", "stream": True, "stop_sequences": ["x"],
            "temperature": 0.5, "top_p": 0.5, "top_k": 5,
            "tools": [{"name": "f", "input_schema": _SCHEMA}],
            "tool_choice": {"type": "any"}, "thinking": {"type": "enabled", "budget_tokens": 2048},
            "output_config": {"effort": "high"},
            "output_format": {"type": "json_schema", "schema": _SCHEMA},
            "metadata": {"user_id": "u"}, "service_tier": "auto",
            "cache_control": {"type": "ephemeral"}, "context_management": {}, "container": "c",
            "mcp_servers": [{}], "betas": ["b"],
            **dict.fromkeys(sorted(anthropic.HINTS - _SHOWN), "x"), "thread": "t",
        },
        {"tool_choice": {"tools": [{"name": "f", "input_schema": _SCHEMA}]}},
        (
            (_SPEAKS, _conversed(_messages, _NATIVE)),
            (_ANY, _conversed(_messages, _OPENAI)),
            ("Ollama", _conversed(_messages, _OLLAMA)),
        ),
    ),
    Table(
        "ollama",
        {"messages": _HI, "stream": False},
        {
            "stream": True, "format": "json", "think": True, "tools": [_TOOL], "logprobs": True,
            "top_logprobs": 2, "truncate": True, "shift": True, "keep_alive": "5m",
            "options.temperature": 0.5, "options.top_p": 0.5, "options.top_k": 5,
            "options.min_p": 0.1, "options.seed": 7, "options.stop": ["x"],
            "options.num_predict": 9, "options.repeat_penalty": 1.1,
            "options.repeat_last_n": 9, "options.presence_penalty": 0.5,
            "options.frequency_penalty": 0.5, "options.mirostat": 1,
            "options.mirostat_tau": 5.0, "options.mirostat_eta": 0.1, "options.typical_p": 0.5,
            "options.tfs_z": 1.0, "options.penalize_newline": True, "options.num_ctx": 4096,
            "options.num_gpu": 1,
        },
        {"top_logprobs": {"logprobs": True}},
        (("Ollama", _conversed(_ollama, _OLLAMA)), (_ANY, _conversed(_ollama, _OPENAI))),
    ),
)  # fmt: skip

HEADINGS: Mapping[ClientDialect, str] = MappingProxyType(
    {
        "openai": "`/v1/chat/completions`",
        "responses": "`/v1/responses`",
        "anthropic": "`/v1/messages`",
        "ollama": "`/api/chat`",
    }
)


def rows(table: Table, words: Words) -> Iterator[list[str]]:
    """A row for each parameter: its name, and where it goes with each kind of engine."""
    for name, value in table.values.items():
        cells = [_place(table, name, value, call, words) for _, call in table.columns]
        yield [f"`{name}`", *cells]


def _place(
    table: Table, name: str, value: Any, call: Callable[[bytes], EngineCall], words: Words
) -> str:
    base: dict[str, Any] = {"model": "m", **table.base, **table.with_it.get(name, {})}
    try:
        before = call(_body(base))
        after = call(_body(_with(base, name, value)))
    except Refusal as refusal:
        return f"{refusal.status} `{refusal.code}`"
    there, here = _flat(before.body), _flat(after.body)
    changed = sorted(path for path in here if there.get(path) != here[path])
    # FLM asks every stream for its usage; that is not where `stream` goes.
    changed = [path for path in changed if not path.startswith("stream_options")] or changed
    if any(path == name or path.startswith(f"{name}.") for path in changed):
        changed = [name]
    dropped = set(after.dropped) - set(before.dropped)
    said = [words(SAME) if path == name else f"`{path}`" for path in changed]
    said += [words(DROPPED)] if dropped else []
    if said:
        return ", ".join(said)
    return words(KEPT_HERE)


def _body(fields: Mapping[str, Any]) -> bytes:
    return json.dumps(fields).encode()


def _with(base: Mapping[str, Any], name: str, value: Any) -> dict[str, Any]:
    outer, _, inner = name.partition(".")
    return {**base, outer: {inner: value} if inner else value}


def _flat(body: bytes) -> dict[str, object]:
    """The fields of a request for an engine; options of Ollama's one by one."""
    fields: dict[str, object] = json.loads(body)
    options = fields.pop("options", {})
    inner = options if isinstance(options, dict) else {}
    return {**fields, **{f"options.{name}": value for name, value in inner.items()}}
