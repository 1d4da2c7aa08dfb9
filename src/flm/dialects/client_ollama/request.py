"""`/api/chat` and `/api/generate` as a client sends them: judged, and in OpenAI's words.

What is not here: `num_ctx`, `keep_alive` and their like are the owner's (`options.py`), and a
`template` of the client's is refused: it is evaluated inside the engine.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from flm.dialects.body import first_byte
from flm.dialects.client_ollama.messages import GivenMessage, Translated, translate
from flm.dialects.client_ollama.options import Options, as_fields, limit_of, read_options
from flm.dialects.fields import shown
from flm.dialects.judging import judged
from flm.dialects.openai_chat import ChatParams, ChatRequest, ResponseFormat, StreamOptions, Tool
from flm.domain.policy import Policy
from flm.errors import Refusal

Raw = msgspec.Raw
Fields = dict[str, Raw]
_encode = msgspec.json.Encoder().encode
_decode_text = msgspec.json.Decoder(str).decode
Model = Annotated[str, Meta(min_length=1, max_length=512)]

_USAGE_TOO = Raw(b'{"include_usage":true}')
_FUNCTION = Raw(b'"function"')
_NOTHING = (b"", b"null")
_EFFORTS = {"max": "xhigh"}
"""Ollama's highest level has another name in OpenAI's words; the others are the same."""


class _Common(msgspec.Struct, kw_only=True, gc=False):
    """What both routes take. None: absent or null."""

    model: Model
    stream: bool | None = None
    format: Raw = Raw(b"")
    think: bool | str | None = None
    truncate: bool | None = None
    shift: bool | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    keep_alive: str | int | float | None = None
    options: Raw = Raw(b"")


class GivenChat(_Common, kw_only=True, gc=False):
    """The fields of `/api/chat`."""

    messages: list[GivenMessage] | None = None
    tools: list[Fields] | None = None


class GivenGenerate(_Common, kw_only=True, gc=False):
    """The fields of `/api/generate`."""

    prompt: str | None = None
    suffix: str | None = None
    system: str | None = None
    template: str | None = None
    raw: bool | None = None
    context: list[int] | None = None
    images: list[Raw] | None = None


class Given(msgspec.Struct, frozen=True):
    """A request that was judged: ``chat`` in OpenAI's words, the rest as Ollama is told it.

    ``fields``: every top-level field as it came, without those the policy dropped; ``owners``:
    the names of those that are the owner's to decide and reach no engine. ``plain``: the prompt
    goes to the model as it is, in no template of a chat; ``suffix``: what follows the gap to fill.
    """

    chat: ChatRequest
    fields: Fields
    options: Options
    owners: tuple[str, ...]
    plain: bool = False
    prompt: str = ""
    suffix: str = ""


class Loading(msgspec.Struct, frozen=True):
    """A request without a prompt: Ollama's word for loading a model, or unloading it.

    ``chat``: it came by `/api/chat`, whose answer has a message.
    """

    model: str
    chat: bool
    unload: bool


_decode_chat = msgspec.json.Decoder(GivenChat).decode
_decode_generate = msgspec.json.Decoder(GivenGenerate).decode
CHAT_KNOWN = frozenset(GivenChat.__struct_fields__)
GENERATE_KNOWN = frozenset(GivenGenerate.__struct_fields__)


def read_chat(body: bytes, policy: Policy) -> Given | Loading:
    """The request of `/api/chat`. Raises `Refusal` 400 as `openai_chat.parse_chat` does."""
    fields, given, taken = judged(body, _decode_chat, CHAT_KNOWN, policy)
    if not given.messages:
        return Loading(given.model, True, _unloads(given.keep_alive))
    tools, hosted = _tools(given.tools or [])
    if hosted:
        fields["tools"] = Raw(_encode(tools))
    return _asked(fields, given, translate(given.messages), tools, (*taken, *hosted), CHAT_KNOWN)


def read_generate(body: bytes, policy: Policy) -> Given | Loading:
    """The request of `/api/generate`. Raises `Refusal` 400 as `openai_chat.parse_chat` does."""
    fields, given, taken = judged(body, _decode_generate, GENERATE_KNOWN, policy)
    if given.template:
        raise Refusal(
            400,
            "unsupported_parameter",
            "FLM lets no client replace a model's template: leave 'template' out.",
            param="template",
        )
    if not given.prompt and not given.images and not given.suffix:
        return Loading(given.model, False, _unloads(given.keep_alive))
    messages = [GivenMessage("user", given.prompt, images=given.images)]
    if given.system:
        messages.insert(0, GivenMessage("system", given.system))
    asked = _asked(fields, given, translate(messages), [], taken, GENERATE_KNOWN)
    if not (given.raw or given.suffix):
        return asked
    return msgspec.structs.replace(
        asked, plain=True, prompt=given.prompt or "", suffix=given.suffix or ""
    )


def _unloads(keep_alive: str | float | None) -> bool:
    return str(keep_alive) in ("0", "0.0", "0s", "0m", "0h", "0ms")


def _asked(
    fields: Fields,
    given: _Common,
    translated: Translated,
    tools: list[Fields],
    taken: tuple[str, ...],
    known: frozenset[str],
) -> Given:
    options, owners = read_options(fields.get("options"))
    if given.keep_alive is not None:
        owners = ("keep_alive", *owners)
    # What no translation can carry; where Ollama answers by itself, it gets them.
    lost = [name for name in ("context", "truncate", "shift") if getattr(given, name, None)]
    lost += [shown(name) for name in fields.keys() - known]
    stream = given.stream is not False
    params = _params(given, options, translated, stream, tools)
    chat = ChatRequest(
        given.model,
        stream,
        stream,
        translated.images,
        bool(tools),
        _in_openai(params, options, translated, tools),
        params,
        tuple(sorted({*taken, *owners, *lost})),
    )
    return Given(chat, fields, options, tuple(sorted({*taken, *owners})))


def _params(
    given: _Common, options: Options, translated: Translated, stream: bool, tools: list[Fields]
) -> ChatParams:
    """What FLM decides by."""
    logprobs = given.logprobs is True
    return ChatParams(
        model=given.model,
        messages=translated.messages,
        stream=stream,
        stream_options=StreamOptions(True) if stream else None,
        temperature=options.temperature,
        top_p=options.top_p,
        max_tokens=limit_of(options),
        presence_penalty=options.presence_penalty,
        frequency_penalty=options.frequency_penalty,
        logprobs=True if logprobs else None,
        top_logprobs=given.top_logprobs if logprobs else None,
        stop=options.stop,
        seed=None if options.seed is None else int(options.seed),
        tools=[Tool("function") for _ in tools] or None,
        response_format=_format(given.format),
        reasoning_effort=_effort(given.think),
    )


def _in_openai(
    params: ChatParams, options: Options, translated: Translated, tools: list[Fields]
) -> Fields:
    """What engines get: every field that says something."""
    said = {
        "stream": params.stream,
        "tools": tools or None,
        "reasoning_effort": params.reasoning_effort,
        "response_format": _spelled(params.response_format),
        "logprobs": params.logprobs,
        "top_logprobs": params.top_logprobs,
        **as_fields(options),
    }
    fields = {
        "model": Raw(_encode(params.model)),
        "messages": translated.raw,
        **{name: Raw(_encode(value)) for name, value in said.items() if value is not None},
    }
    if params.stream:
        fields["stream_options"] = _USAGE_TOO
    return fields


def _tools(given: list[Fields]) -> tuple[list[Fields], tuple[str, ...]]:
    """The functions among the tools, each with its type, and the names of the others."""
    tools: list[Fields] = []
    hosted: list[str] = []
    for index, tool in enumerate(given):
        kind = tool.get("type", _FUNCTION)
        if bytes(kind) in (b'"function"', b"null", b'""'):
            tools.append({**tool, "type": _FUNCTION})
        else:
            hosted.append(f"tools[{index}]")
    return tools, tuple(hosted)


def _effort(think: bool | str | None) -> str | None:
    if think is None or think == "":
        return None
    if isinstance(think, str):
        return _EFFORTS.get(think, think)
    return "medium" if think else "none"


def _spelled(wanted: ResponseFormat | None) -> dict[str, object] | None:
    if wanted is None:
        return None
    schema = {"json_schema": wanted.json_schema} if bytes(wanted.json_schema) else {}
    return {"type": wanted.type, **schema}


def _format(raw: Raw) -> ResponseFormat | None:
    said = bytes(raw)
    if said in _NOTHING or said == b'""':
        return None
    if said == b'"json"':
        return ResponseFormat("json_object")
    if first_byte(raw) == b"{":
        return ResponseFormat("json_schema", Raw(b'{"name":"answer","schema":%b}' % said))
    raise Refusal(
        400,
        "invalid_value",
        "Invalid value for 'format': expected \"json\" or a JSON Schema object.",
        param="format",
    )
