"""llama.cpp's `/v1/models` and `/props` as models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from flm.domain.engines import EngineId
from flm.domain.models import Capability, Model, name_of_file
from flm.engines.answers import Whole, decoded, entries
from flm.engines.counts import parameters

_NO_MODELS = frozenset({"downloading", "downloaded"})
"""What a router lists and cannot serve (yet)."""


class _Architecture(msgspec.Struct):
    input_modalities: list[str] = msgspec.field(default_factory=list)
    output_modalities: list[str] = msgspec.field(default_factory=list)


class _Meta(msgspec.Struct):
    n_ctx: Whole | None = None
    n_ctx_train: Whole | None = None
    n_params: Whole | None = None
    size: Whole | None = None
    ftype: str | None = None


class Progress(msgspec.Struct):
    """How much of one file is there, in bytes."""

    done: int = 0
    total: int = 0


class Status(msgspec.Struct):
    """What a router says of one model. ``failed``: it could not be loaded."""

    value: str = ""
    failed: bool = False


class Entry(msgspec.Struct):
    """One entry of `data`. ``status`` is there in router mode only."""

    id: str
    architecture: _Architecture = msgspec.field(default_factory=_Architecture)
    meta: _Meta | None = None
    status: Status | None = None

    @property
    def is_loaded(self) -> bool:
        """Whether a router has it in memory: it then has properties and slots of its own."""
        return self.status is not None and self.status.value == "loaded"


class _List(msgspec.Struct):
    data: list[msgspec.Raw]


class _Settings(msgspec.Struct):
    n_ctx: Whole | None = None


class _Modalities(msgspec.Struct):
    vision: bool = False
    audio: bool = False


class _Caps(msgspec.Struct):
    supports_tools: bool = False
    supports_tool_calls: bool = False
    supports_preserve_reasoning: bool = False
    supports_reasoning_effort: bool = False


class Props(msgspec.Struct):
    """`/props`. Its context is the one of a slot: what one request can have.

    ``models_autoload``: whether a router loads a model that is asked for.
    """

    build_info: str = ""
    role: str = ""
    models_autoload: bool = True
    default_generation_settings: _Settings = msgspec.field(default_factory=_Settings)
    modalities: _Modalities = msgspec.field(default_factory=_Modalities)
    chat_template: str = ""
    chat_template_caps: _Caps = msgspec.field(default_factory=_Caps)
    total_slots: Whole | None = None
    is_sleeping: bool = False

    @property
    def is_router(self) -> bool:
        """Whether they are a router's, and so no model's."""
        return self.role == "router"


class Fault(msgspec.Struct):
    """The `error` object of llama.cpp."""

    type: str = ""


class Refused(msgspec.Struct):
    """An error answer of llama.cpp."""

    error: Fault


class Slot(msgspec.Struct):
    """One entry of `/slots`."""

    is_processing: bool = False


def listed(body: bytes) -> list[Entry] | None:
    """The entries of `/v1/models`, None when it is no such list."""
    found = decoded(body, _List)
    return None if found is None else entries(found.data, Entry)


def models(
    engine: EngineId,
    found: Sequence[Entry],
    props: Props | None,
    each: Mapping[str, Props] | None = None,
) -> tuple[Model, ...]:
    """The models: a file's path becomes the file's name, unless another has that name.

    ``props`` are the server's, ``each`` those of a router's loaded models by their ids.
    """
    taken: set[str] = set()
    made: list[Model] = []
    for entry in found:
        name = name_of_file(entry.id)
        name = entry.id if name in taken else name
        if name in taken or (entry.status is not None and entry.status.value in _NO_MODELS):
            continue
        taken.add(name)
        own = props if entry.status is None else (each or {}).get(entry.id)
        made.append(_model(engine, name, entry, own, props))
    return tuple(made)


def _model(
    engine: EngineId, name: str, entry: Entry, own: Props | None, server: Props | None
) -> Model:
    meta = entry.meta or _Meta()
    slot = own.default_generation_settings.n_ctx if own is not None else None
    return Model(
        name=name,
        engine=engine,
        engine_name=entry.id if entry.id != name else None,
        capabilities=capabilities(entry, own),
        context_length=slot or meta.n_ctx or None,
        trained_context=meta.n_ctx_train,
        size_bytes=meta.size,
        quantization=meta.ftype,
        parameters=parameters(meta.n_params),
        loaded=_loaded(entry, own),
        by_hand=_by_hand(entry, server),
    )


def _loaded(entry: Entry, props: Props | None) -> bool:
    if entry.status is not None:
        return entry.is_loaded
    return props is None or not props.is_sleeping


def _by_hand(entry: Entry, server: Props | None) -> bool:
    """A router may be told not to load what is asked for; what sleeps wakes all the same."""
    if entry.status is None or server is None or server.models_autoload:
        return False
    return entry.status.value != "sleeping"


def capabilities(entry: Entry, props: Props | None) -> tuple[Capability, ...]:
    """What the model can do. Whether a server was started with `--embeddings` is told nowhere
    (recorded: both answer the same), so embeddings are taken for possible; its 501 is clear."""
    outputs = entry.architecture.output_modalities
    if outputs and "text" not in outputs:
        return ()  # a model that decides or draws, and does not talk
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
