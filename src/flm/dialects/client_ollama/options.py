"""`options` of Ollama's requests: those that sample are the client's, the others the owner's.

`num_ctx`, `num_gpu`, `num_thread` and the like make Ollama load the model again whenever they
change, for everybody who uses it: they never reach an engine and are named as dropped.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from flm.dialects.fields import shown, wrong_value

Raw = msgspec.Raw
_MOST = 2**31 - 1
_Share = Annotated[float, Meta(ge=0, le=1)]
_Positive = Annotated[float, Meta(ge=0, le=1e6)]
_Penalty = Annotated[float, Meta(ge=-2, le=2)]
# Go, which Ollama is written in, reads 8.0 as the whole number that it is.
_Seed = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | Annotated[float, Meta(multiple_of=1)]
_Limit = Annotated[int, Meta(ge=-2, le=_MOST)] | Annotated[float, Meta(ge=-2, multiple_of=1)]
_Count = Annotated[int, Meta(ge=-1, le=_MOST)] | Annotated[float, Meta(ge=-1, multiple_of=1)]


class Options(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The options that change how an answer is sampled, range-checked. None: absent or null."""

    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: _Share | None = None
    top_k: _Count | None = None
    min_p: _Share | None = None
    typical_p: _Share | None = None
    tfs_z: _Positive | None = None
    seed: _Seed | None = None
    stop: str | Annotated[list[str], Meta(max_length=16)] | None = None
    num_predict: _Limit | None = None
    repeat_penalty: _Positive | None = None
    repeat_last_n: _Count | None = None
    presence_penalty: _Penalty | None = None
    frequency_penalty: _Penalty | None = None
    mirostat: Annotated[int, Meta(ge=0, le=2)] | None = None
    mirostat_tau: _Positive | None = None
    mirostat_eta: _Positive | None = None
    penalize_newline: bool | None = None


KNOWN = frozenset(Options.__struct_fields__)
_WHOLE = ("top_k", "seed", "num_predict", "repeat_last_n")
_FORWARDED = (
    "top_k", "min_p", "typical_p", "tfs_z", "repeat_penalty", "repeat_last_n", "mirostat",
    "mirostat_tau", "mirostat_eta", "penalize_newline",
)  # fmt: skip
_decode = msgspec.json.Decoder(Options | None).decode
_decode_fields = msgspec.json.Decoder(dict[str, Raw] | None).decode
_encode = msgspec.json.Encoder().encode


def read_options(raw: Raw | None) -> tuple[Options, tuple[str, ...]]:
    """The options in `raw`, and the names of those that reach no engine (`options.num_ctx`).

    Raises `Refusal` 400 `invalid_value` for a wrong type or a value out of range.
    """
    if raw is None:
        return Options(), ()
    try:
        options = _decode(raw) or Options()
        names = (_decode_fields(raw) or {}).keys() - KNOWN
    except msgspec.ValidationError as error:
        raise wrong_value(error, "options") from error
    for name in _WHOLE:
        value = getattr(options, name)
        if value is not None:
            setattr(options, name, int(value))
    return options, tuple(f"options.{shown(name)}" for name in sorted(names))


def limit_of(options: Options) -> int | None:
    """`max_tokens`; None where the engine may go on: 0, -1 and -2 are Ollama's words for it."""
    limit = options.num_predict
    return None if limit is None or limit <= 0 else int(limit)


def as_fields(options: Options) -> dict[str, object]:
    """The options as top-level fields of a chat completion.

    Engines have two names for the penalty of repetitions and leave aside the one they do not
    know, so both are sent.
    """
    fields: dict[str, object] = {
        "temperature": options.temperature,
        "top_p": options.top_p,
        "seed": options.seed,
        "stop": options.stop,
        "max_tokens": limit_of(options),
        "presence_penalty": options.presence_penalty,
        "frequency_penalty": options.frequency_penalty,
        "repetition_penalty": options.repeat_penalty,
    }
    fields.update((name, getattr(options, name)) for name in _FORWARDED)
    return {name: value for name, value in fields.items() if value is not None}


def for_ollama(options: Options, num_ctx: int | None) -> Raw:
    """The options as Ollama gets them: the client's that sample, the owner's `num_ctx`."""
    if isinstance(options.stop, str):
        options = msgspec.structs.replace(options, stop=[options.stop])
    fields = msgspec.to_builtins(options)
    if num_ctx is not None:
        fields["num_ctx"] = num_ctx
    return Raw(_encode(fields))
