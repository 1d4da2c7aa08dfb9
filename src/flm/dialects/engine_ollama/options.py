"""Ollama's `options`, and what it cannot be asked: for chats and for text completions."""

from __future__ import annotations

import msgspec

from flm.dialects.body import UNREADABLE
from flm.dialects.fields import shown
from flm.dialects.openai_chat import ChatParams
from flm.dialects.openai_completions import CompletionParams
from flm.errors import Refusal
from flm.wire.snapshot import Target

Raw = msgspec.Raw
_decode_object = msgspec.json.Decoder(dict[str, Raw]).decode

OPTIONS = frozenset(
    {
        "top_k", "min_p", "typical_p", "tfs_z", "repeat_last_n", "repeat_penalty",
        "mirostat", "mirostat_tau", "mirostat_eta", "penalize_newline",
    }
)  # fmt: skip
"""Ollama's options that clients write at the top level. Those that would make Ollama load the
model again (`num_gpu`, `num_thread`, `num_ctx` …) are not among them: they are the owner's."""

_SAMPLING = frozenset(
    {
        "temperature", "top_p", "seed", "stop", "num_predict", "presence_penalty",
        "frequency_penalty",
    }
)  # fmt: skip


def translated(
    params: ChatParams | CompletionParams, limit: int | None, target: Target
) -> dict[str, object]:
    """OpenAI's parameters as options. ``limit``: how many tokens the answer may have."""
    given = {
        "temperature": params.temperature,
        "top_p": params.top_p,
        "seed": params.seed,
        "stop": [params.stop] if isinstance(params.stop, str) else params.stop,
        "num_predict": limit,
        "presence_penalty": params.presence_penalty,
        "frequency_penalty": params.frequency_penalty,
        # The same with every request: Ollama loads the model again when it changes.
        "num_ctx": target.num_ctx,
    }
    return {name: value for name, value in given.items() if value is not None}


def add_native(raw: Raw, options: dict[str, object], dropped: list[str]) -> None:
    """`options` as Ollama's own clients write them: the sampling ones count where OpenAI's
    fields say nothing, the rest is the owner's or unknown.
    """
    try:
        given = _decode_object(raw)
    except UNREADABLE as error:
        raise Refusal(
            400,
            "invalid_value",
            "Invalid value for 'options': expected an object.",
            param="options",
        ) from error
    for name, value in given.items():
        if name in OPTIONS or name in _SAMPLING:
            options.setdefault(name, value)
        else:
            dropped.append(f"options.{shown(name)}")


def refuse_bias(params: ChatParams | CompletionParams) -> None:
    """Raise `Refusal` when there is a `logit_bias`."""
    if bytes(params.logit_bias) not in (b"", b"null", b"{}", b"[]"):
        raise unsupported("logit_bias", "has no 'logit_bias'")


def unsupported(name: str, why: str) -> Refusal:
    """The error for what Ollama cannot do and that would change the answer."""
    return Refusal(400, "unsupported_parameter", f"Ollama {why}.", param=name)
