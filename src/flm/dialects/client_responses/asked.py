"""A request of the Responses API as a client sends it: judged, and split into its items."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta

from flm.dialects.body import first_byte
from flm.dialects.client_responses.items import Item, read_item
from flm.dialects.fields import shown, wrong_value
from flm.dialects.judging import judged
from flm.dialects.openai_chat import KNOWN as CHAT_FIELDS
from flm.domain.policy import Policy
from flm.errors import Refusal

Raw = msgspec.Raw
NO_RAW = Raw()
_ABSENT = (b"", b"null")
MAX_ITEMS = 10_000

Tokens = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Value = Annotated[str, Meta(max_length=512)]
Metadata = Annotated[dict[Annotated[str, Meta(max_length=64)], Value], Meta(max_length=16)]


class Reasoning(msgspec.Struct):
    """`reasoning`; ``generate_summary`` is the older name of ``summary``."""

    effort: str | None = None
    summary: str | None = None
    generate_summary: str | None = None


class TextFormat(msgspec.Struct):
    """`text.format`."""

    type: str = "text"
    name: str | None = None
    schema: Raw = NO_RAW
    strict: bool | None = None
    description: str | None = None


class Text(msgspec.Struct):
    """`text`."""

    format: TextFormat | None = None
    verbosity: str | None = None


class Params(msgspec.Struct, kw_only=True):
    """The fields of the Responses API, range-checked. None: absent or null."""

    model: Annotated[str, Meta(min_length=1, max_length=512)]
    input: Raw = NO_RAW
    instructions: str | None = None
    previous_response_id: Annotated[str, Meta(min_length=1, max_length=128)] | None = None
    store: bool | None = None
    stream: bool | None = None
    stream_options: Raw = NO_RAW
    include: Annotated[list[str], Meta(max_length=64)] | None = None
    reasoning: Reasoning | None = None
    text: Text | None = None
    tools: Raw = NO_RAW
    tool_choice: Raw = NO_RAW
    parallel_tool_calls: bool | None = None
    max_output_tokens: Tokens | None = None
    max_tool_calls: Tokens | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    truncation: Literal["auto", "disabled"] | None = None
    metadata: Metadata | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    service_tier: str | None = None
    background: bool | None = None
    conversation: Raw = NO_RAW
    prompt: Raw = NO_RAW


HINTS = frozenset(
    {
        "access_programs", "background_options", "client_metadata", "context_management", "image",
        "moderation", "prompt_cache_options", "prompt_cache_retention",
    }
)  # fmt: skip
"""Fields of the API that no engine here has a use for, and that leave the answer as it is."""

FORWARDED = frozenset({"stop", "seed", "presence_penalty", "frequency_penalty", "logit_bias"})
"""Fields of chat completions that mean the same here, for clients that send them all the same."""

KNOWN = frozenset(Params.__struct_fields__) | HINTS
_decode_params = msgspec.json.Decoder(Params).decode
_decode_text = msgspec.json.Decoder(str).decode
_decode_list = msgspec.json.Decoder(list[Raw]).decode
_encode = msgspec.json.Encoder().encode


class Given(NamedTuple):
    """An item as it came, as it is read, and where it stands."""

    raw: Raw
    item: Item
    where: str


class Asked(msgspec.Struct, frozen=True):
    """A judged request. ``items``: this turn's input; ``more``: fields that go on to an engine as
    they are; ``dropped``: those that do not.
    """

    params: Params
    items: tuple[Given, ...]
    more: dict[str, Raw]
    dropped: tuple[str, ...]

    @property
    def store(self) -> bool:
        """Whether the answer is to be kept: so it is unless the client says no."""
        return self.params.store is not False

    @property
    def references(self) -> tuple[str, ...]:
        """The ids of items that are only named."""
        named = (given.item.id for given in self.items if given.item.kind == "item_reference")
        return tuple(dict.fromkeys(one for one in named if one))


def parse_responses(body: bytes, policy: Policy) -> Asked:
    """The request in `body`.

    Raises `Refusal` 400 as `parse_chat` does, and `unsupported_parameter` for what only OpenAI's
    servers keep or run: `background`, `conversation`, `prompt`.
    """
    fields, params, dropped = judged(body, _decode_params, KNOWN, policy)
    _refuse_unsupported(params)
    hints = tuple(name for name in HINTS if not _is_absent(fields.get(name, NO_RAW)))
    return Asked(params, _items(params), _forwarded(fields), (*dropped, *hints))


def _refuse_unsupported(params: Params) -> None:
    if params.background:
        raise _unsupported("background", "FLM answers while the client waits, or streams")
    if not _is_absent(params.conversation):
        raise _unsupported("conversation", "use 'previous_response_id'")
    if not _is_absent(params.prompt):
        raise _unsupported("prompt", "use 'instructions', or a prompt template of a publication")
    if params.previous_response_id is None and bytes(params.input) in _ABSENT:
        raise Refusal(
            400, "missing_required_parameter", "Missing required parameter: 'input'.", param="input"
        )


def _items(params: Params) -> tuple[Given, ...]:
    raw = params.input
    if bytes(raw) in _ABSENT:
        return ()
    if first_byte(raw) == b'"':
        text = _decode_text(raw)
        message = {"type": "message", "role": "user", "content": text}
        return (Given(Raw(_encode(message)), Item("message", role="user", content=text), "input"),)
    try:
        raws = _decode_list(raw)
    except msgspec.ValidationError as error:
        raise wrong_value(error, "input") from error
    if len(raws) > MAX_ITEMS:
        raise Refusal(
            400, "invalid_value", f"'input' has more than {MAX_ITEMS} items.", param="input"
        )
    return tuple(
        Given(one, read_item(one, f"input[{index}]"), f"input[{index}]")
        for index, one in enumerate(raws)
    )


def _forwarded(fields: dict[str, Raw]) -> dict[str, Raw]:
    """What is not the API's own. Raises `Refusal` for what belongs to chat completions only."""
    more = {name: raw for name, raw in fields.items() if name not in KNOWN}
    for name, raw in list(more.items()):
        if name in CHAT_FIELDS and name not in FORWARDED:
            del more[name]
            if not _is_absent(raw) and not (name == "n" and bytes(raw) == b"1"):
                raise _unsupported(name, "it belongs to chat completions")
    return more


def _is_absent(raw: Raw) -> bool:
    return bytes(memoryview(raw)[:5]) in _ABSENT


def _unsupported(name: str, why: str) -> Refusal:
    name = shown(name)
    return Refusal(
        400,
        "unsupported_parameter",
        f"'{name}' is not supported by the Responses API of FLM: {why}.",
        param=name,
    )
