"""vLLM's `/v1/models` as models, and what its routes and metrics tell of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from flm.domain.engines import EngineId
from flm.domain.models import Capability, Model, name_of_file
from flm.engines.answers import Whole, decoded, entries

ROUTES: tuple[tuple[str, Capability], ...] = (
    ("/v1/chat/completions", "chat"),
    ("/v1/embeddings", "embeddings"),
    ("/v1/rerank", "rerank"),
    ("/v1/audio/transcriptions", "audio"),
)
"""The routes that vLLM has only where its model can do it, and what they mean."""

TOOL_PARSER = b"vllm:tool_call_parser_invocations"
"""The metric that only a vLLM with `--tool-call-parser` has (0.32.0)."""


class Version(msgspec.Struct):
    """`/version`."""

    version: str


class Entry(msgspec.Struct):
    """One entry of `data`. ``parent`` is set for LoRA adapters, which tell no context."""

    id: str
    root: str | None = None
    parent: str | None = None
    max_model_len: Whole | None = None


class _List(msgspec.Struct):
    data: list[msgspec.Raw]


def listed(body: bytes) -> list[Entry] | None:
    """The entries of `/v1/models`, None when it is no such list."""
    found = decoded(body, _List)
    return None if found is None else entries(found.data, Entry)


def models(
    engine: EngineId, found: Sequence[Entry], capabilities: tuple[Capability, ...]
) -> tuple[Model, ...]:
    """The models, all loaded. The context is the effective one: what a request can have."""
    longest = max((entry.max_model_len or 0 for entry in found), default=0)
    made: dict[str, Model] = {}
    for entry in found:
        short = name_of_file(entry.id)
        name = entry.id if short in made else short
        made.setdefault(
            name,
            Model(
                name=name,
                engine=engine,
                engine_name=entry.id if entry.id != name else None,
                capabilities=capabilities,
                context_length=entry.max_model_len or longest or None,
                loaded=True,
            ),
        )
    return tuple(made.values())


def capabilities(routes: Collection[str] | None, metrics: bytes) -> tuple[Capability, ...]:
    """What the one model can do, by the ``routes`` that are there; None: that is not known, so
    chat and embeddings are taken for possible. Whether it sees images is told nowhere."""
    if routes is None:
        return ("chat", "embeddings")
    found: list[Capability] = [can for route, can in ROUTES if route in routes]
    if "chat" in found and TOOL_PARSER in metrics:
        found.append("tools")
    return tuple(found)
