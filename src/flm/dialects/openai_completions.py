"""OpenAI's text completions as a client sends them: judged, and left as they came."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from flm.dialects.judging import judged
from flm.dialects.openai_chat import NO_RAW, Penalty, Raw, StreamOptions
from flm.domain.policy import Policy
from flm.errors import Refusal

_Token = Annotated[int, Meta(ge=0, le=2**31 - 1)]
_Choices = Annotated[int, Meta(ge=1, le=128)]


class CompletionParams(msgspec.Struct, kw_only=True, gc=False):
    """The fields of OpenAI's completions, range-checked. None: absent or null."""

    model: Annotated[str, Meta(min_length=1, max_length=512)]
    prompt: str | Annotated[list[str | _Token | list[_Token]], Meta(min_length=1)]
    suffix: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    # 0 asks for the prompt's own logprobs, with `echo`.
    max_tokens: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    n: _Choices | None = None
    best_of: _Choices | None = None
    echo: bool | None = None
    logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    logit_bias: Raw = NO_RAW
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    stop: str | Annotated[list[str], Meta(max_length=16)] | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    user: str | None = None


class CompletionRequest(msgspec.Struct, frozen=True):
    """A text completion that may be asked of an engine.

    ``fields``: every top-level field as it came, without those in ``dropped``; ``model``: the
    name the client used, and reads in the answer; ``include_usage``: whether it wants the usage
    chunk; ``texts``: the prompts where they are text, () where they are tokens.
    """

    model: str
    stream: bool
    include_usage: bool
    texts: tuple[str, ...]
    fields: dict[str, Raw]
    params: CompletionParams
    dropped: tuple[str, ...] = ()


KNOWN = frozenset(CompletionParams.__struct_fields__)
_decode_params = msgspec.json.Decoder(CompletionParams).decode


def parse_completions(body: bytes, policy: Policy) -> CompletionRequest:
    """The request in `body`. Raises `Refusal` 400 as `parse_chat` does."""
    fields, params, dropped = judged(body, _decode_params, KNOWN, policy)
    if params.best_of is not None and params.best_of < (params.n or 1):
        raise Refusal(
            400,
            "invalid_value",
            "Invalid value for 'best_of': it must not be smaller than 'n'.",
            param="best_of",
        )
    options = params.stream_options
    return CompletionRequest(
        model=params.model,
        stream=params.stream is True,
        include_usage=options is not None and options.include_usage is True,
        texts=_texts(params.prompt),
        fields=fields,
        params=params,
        dropped=dropped,
    )


def _texts(prompt: str | list[str | int | list[int]]) -> tuple[str, ...]:
    """The prompts that are text. Raises `Refusal` 400 when texts and tokens are mixed."""
    if isinstance(prompt, str):
        return (prompt,)
    kinds = {type(each) for each in prompt}
    if len(kinds) > 1:
        raise Refusal(
            400,
            "invalid_value",
            "Invalid value for 'prompt': texts, tokens and lists of tokens cannot be mixed.",
            param="prompt",
        )
    return tuple(each for each in prompt if isinstance(each, str))
