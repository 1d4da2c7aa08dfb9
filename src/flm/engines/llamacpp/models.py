"""llama.cpp's `/v1/models` and `/props` as models."""

from __future__ import annotations

import msgspec

from flm.domain.engines import EngineId
from flm.domain.models import Capability, Model, name_of_file
from flm.engines.answers import decoded, entries


class _Architecture(msgspec.Struct):
    input_modalities: list[str] = msgspec.field(default_factory=list)


class _Meta(msgspec.Struct):
    n_ctx: int | None = None
    n_ctx_train: int | None = None
    size: int | None = None
    ftype: str | None = None


class _Status(msgspec.Struct):
    value: str = ""


class Entry(msgspec.Struct):
    """One entry of `data`. ``status`` is there in router mode only."""

    id: str
    architecture: _Architecture = msgspec.field(default_factory=_Architecture)
    meta: _Meta | None = None
    status: _Status | None = None


class _List(msgspec.Struct):
    data: list[msgspec.Raw]


class _Settings(msgspec.Struct):
    n_ctx: int | None = None


class _Modalities(msgspec.Struct):
    vision: bool = False
    audio: bool = False


class _Caps(msgspec.Struct):
    supports_tools: bool = False
    supports_tool_calls: bool = False
    supports_preserve_reasoning: bool = False
    supports_reasoning_effort: bool = False


class Props(msgspec.Struct):
    """`/props`. Its context is the one of a slot: what one request can have."""

    build_info: str = ""
    role: str = ""
    default_generation_settings: _Settings = msgspec.field(default_factory=_Settings)
    modalities: _Modalities = msgspec.field(default_factory=_Modalities)
    chat_template: str = ""
    chat_template_caps: _Caps = msgspec.field(default_factory=_Caps)
    total_slots: int | None = None
    is_sleeping: bool = False


def listed(body: bytes) -> list[Entry] | None:
    """The entries of `/v1/models`, None when it is no such list."""
    found = decoded(body, _List)
    return None if found is None else entries(found.data, Entry)


def models(engine: EngineId, found: list[Entry], props: Props | None) -> tuple[Model, ...]:
    """The models: a file's path becomes the file's name, unless another has that name."""
    taken: set[str] = set()
    made: list[Model] = []
    for entry in found:
        name = name_of_file(entry.id)
        name = entry.id if name in taken else name
        if name not in taken:
            taken.add(name)
            made.append(_model(engine, name, entry, props))
    return tuple(made)


def _model(engine: EngineId, name: str, entry: Entry, props: Props | None) -> Model:
    meta = entry.meta or _Meta()
    single = props if entry.status is None else None
    slot = single.default_generation_settings.n_ctx if single is not None else None
    return Model(
        name=name,
        engine=engine,
        engine_name=entry.id if entry.id != name else None,
        capabilities=capabilities(entry, single),
        context_length=slot or meta.n_ctx or None,
        trained_context=meta.n_ctx_train,
        size_bytes=meta.size,
        quantization=meta.ftype,
        loaded=_loaded(entry, single),
    )


def _loaded(entry: Entry, props: Props | None) -> bool:
    if entry.status is not None:
        return entry.status.value == "loaded"
    return props is None or not props.is_sleeping


def capabilities(entry: Entry, props: Props | None) -> tuple[Capability, ...]:
    """What the model can do. Whether a server was started with `--embeddings` is told nowhere
    (recorded: both answer the same), so embeddings are taken for possible; its 501 is clear."""
    found: list[Capability] = ["chat", "embeddings"]
    inputs = entry.architecture.input_modalities
    if "image" in inputs or (props is not None and props.modalities.vision):
        found.append("vision")
    if "audio" in inputs or (props is not None and props.modalities.audio):
        found.append("audio")
    if props is None:
        return tuple(found)
    caps = props.chat_template_caps
    if caps.supports_tools or caps.supports_tool_calls:
        found.append("tools")
    thinks = caps.supports_preserve_reasoning or caps.supports_reasoning_effort
    if thinks or "<think>" in props.chat_template or "enable_thinking" in props.chat_template:
        found.append("reasoning")
    return tuple(found)
