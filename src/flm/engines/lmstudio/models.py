"""LM Studio's three lists of models, newest first: `/api/v1`, `/api/v0` and OpenAI's.

Whatever it does not know it answers with 200 and an error, so only the shape tells.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from flm.domain.engines import EngineId
from flm.domain.models import Capability, Model
from flm.engines.answers import EXACT, decoded, entries

Reader = Callable[[EngineId, bytes], "tuple[Model, ...] | None"]


class _Quantization(msgspec.Struct):
    name: str | None = None


class _Loading(msgspec.Struct):
    context_length: float | None = None
    parallel: float | None = None


class Instance(msgspec.Struct):
    """A model in memory, once for each time it was loaded."""

    id: str
    config: _Loading = msgspec.field(default_factory=_Loading)


class _Abilities(msgspec.Struct):
    """``reasoning`` is an object with its levels where the model thinks."""

    vision: bool = False
    trained_for_tool_use: bool = False
    reasoning: object = None


class Entry(msgspec.Struct):
    """One model of `/api/v1/models` (0.4.0 and later). Its numbers are JavaScript's."""

    key: str
    type: str = "llm"
    architecture: str | None = None
    quantization: _Quantization | None = None
    size_bytes: float | None = None
    params_string: str | None = None
    loaded_instances: list[Instance] = []
    max_context_length: float | None = None
    capabilities: _Abilities | None = None


class _List(msgspec.Struct):
    models: list[msgspec.Raw]


def listed(body: bytes) -> list[Entry] | None:
    """The entries of `/api/v1/models`, None when it is no such list."""
    found = decoded(body, _List)
    return None if found is None else entries(found.models, Entry)


def native(engine: EngineId, body: bytes) -> tuple[Model, ...] | None:
    """The models of `/api/v1/models`."""
    found = listed(body)
    return None if found is None else tuple(_native(engine, entry) for entry in found)


def _native(engine: EngineId, entry: Entry) -> Model:
    """Its effective context is the one it is loaded with, the smallest where it is loaded more
    than once; before that nobody knows it.
    """
    contexts = [each.config.context_length for each in entry.loaded_instances]
    told = entry.capabilities or _Abilities()
    return Model(
        name=entry.key,
        engine=engine,
        capabilities=_capabilities(
            entry.type == "embedding",
            vision=told.vision,
            tools=told.trained_for_tool_use,
            reasoning=bool(told.reasoning),
        ),
        context_length=whole(min((each for each in contexts if each), default=None)),
        trained_context=whole(entry.max_context_length),
        size_bytes=whole(entry.size_bytes),
        quantization=(entry.quantization.name or None) if entry.quantization else None,
        family=entry.architecture or None,
        loaded=bool(entry.loaded_instances),
        parameters=entry.params_string or None,
    )


def whole(number: float | None) -> int | None:
    """A number of JavaScript's as a whole one, None where it is none that means anything."""
    return int(number) if number is not None and 0 < number <= EXACT else None


class _OldEntry(msgspec.Struct):
    """One model of `/api/v0/models` (0.3.6 to 0.3.x)."""

    id: str
    type: str = "llm"
    arch: str | None = None
    quantization: str | None = None
    state: str = ""
    max_context_length: float | None = None
    loaded_context_length: float | None = None
    capabilities: list[str] = []


class _OldList(msgspec.Struct):
    data: list[msgspec.Raw]


def old(engine: EngineId, body: bytes) -> tuple[Model, ...] | None:
    """The models of `/api/v0/models`."""
    found = decoded(body, _OldList)
    if found is None:
        return None
    return tuple(
        Model(
            name=entry.id,
            engine=engine,
            capabilities=_capabilities(
                entry.type == "embeddings",
                vision=entry.type == "vlm",
                tools="tool_use" in entry.capabilities,
            ),
            context_length=whole(entry.loaded_context_length),
            trained_context=whole(entry.max_context_length),
            quantization=entry.quantization or None,
            family=entry.arch or None,
            loaded=entry.state == "loaded",
        )
        for entry in entries(found.data, _OldEntry)
    )


class _PlainEntry(msgspec.Struct):
    id: str


def plain(engine: EngineId, body: bytes) -> tuple[Model, ...] | None:
    """The models of `/v1/models`, which tells their names only. LM Studio itself takes what is
    called `text-embedding-…` for a model that embeds, and nothing else.
    """
    found = decoded(body, _OldList)
    if found is None:
        return None
    return tuple(
        Model(
            name=entry.id,
            engine=engine,
            capabilities=_capabilities(entry.id.startswith("text-embedding-")),
        )
        for entry in entries(found.data, _PlainEntry)
    )


def loaded_by_hand(models: tuple[Model, ...], body: bytes) -> tuple[Model, ...]:
    """The models, those marked that no request loads: LM Studio loads on request unless its user
    turned that off, and then `/v1/models` (``body``) lists only what is in memory.
    """
    listed_plainly = decoded(body, _OldList)
    if listed_plainly is None:
        return models
    names = {entry.id for entry in entries(listed_plainly.data, _PlainEntry)}
    asleep = {model.name for model in models if not model.loaded}
    if names & asleep:
        return models
    return tuple(
        msgspec.structs.replace(model, by_hand=True) if model.name in asleep else model
        for model in models
    )


PLAIN = "/v1/models"
LISTS: tuple[tuple[str, Reader], ...] = (
    ("/api/v1/models", native),
    ("/api/v0/models", old),
    (PLAIN, plain),
)
"""Where its models are listed, the list that tells most first, and who reads it."""


def _capabilities(
    embeds: bool, *, vision: bool = False, tools: bool = False, reasoning: bool = False
) -> tuple[Capability, ...]:
    if embeds:
        return ("embeddings",)
    found: list[Capability] = ["chat"]
    if vision:
        found.append("vision")
    if tools:
        found.append("tools")
    if reasoning:
        found.append("reasoning")
    return tuple(found)
