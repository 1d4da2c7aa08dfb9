"""Ollama's lists as models: what they can do, what context they get, which are loaded."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from flm.domain.engines import EngineId
from flm.domain.models import Capability, Model
from flm.engines.answers import EXACT, Whole, decoded, entries, seconds_since_epoch
from flm.engines.wishes import wished

_CAPABILITIES: dict[str, Capability] = {
    "completion": "chat",
    "embedding": "embeddings",
    "vision": "vision",
    "audio": "audio",
    "tools": "tools",
    "thinking": "reasoning",
    "image": "images",
}


class _Details(msgspec.Struct):
    family: str = ""
    families: list[str] | None = None
    parameter_size: str = ""
    quantization_level: str = ""
    context_length: Whole | None = None


class Tag(msgspec.Struct):
    """One entry of `/api/tags`. ``capabilities`` is None where Ollama is too old to tell."""

    name: str
    modified_at: str = ""
    size: Whole | None = None
    digest: str = ""
    details: _Details = msgspec.field(default_factory=_Details)
    capabilities: list[str] | None = None
    remote_host: str = ""
    remote_model: str = ""

    @property
    def is_cloud(self) -> bool:
        """Whether its prompts leave this machine."""
        return bool(self.remote_host or self.remote_model) or self.name.endswith(
            (":cloud", "-cloud")
        )


class Shown(msgspec.Struct):
    """What `/api/show` adds for an Ollama whose tags tell no capabilities."""

    capabilities: list[str] | None = None
    model_info: dict[str, msgspec.Raw] = msgspec.field(default_factory=dict)
    projector_info: dict[str, msgspec.Raw] | None = None
    template: str = ""

    def number(self, ending: str) -> int | None:
        """The whole number in `model_info` whose key ends so (its start is the architecture)."""
        for key, value in self.model_info.items():
            if key.endswith(ending):
                number = decoded(bytes(value), int)
                return number if number is not None and abs(number) <= EXACT else None
        return None


class _Loaded(msgspec.Struct):
    name: str
    context_length: Whole | None = None


class _List(msgspec.Struct):
    models: list[msgspec.Raw] | None = None


def tags(body: bytes) -> list[Tag] | None:
    """The entries of `/api/tags`, None when it is no such list."""
    listed = decoded(body, _List)
    return None if listed is None else entries(listed.models or (), Tag)


def loaded_contexts(body: bytes) -> dict[str, int | None]:
    """The loaded models of `/api/ps`, each with the context it was loaded with."""
    listed = decoded(body, _List)
    if listed is None:
        return {}
    return {each.name: each.context_length for each in entries(listed.models or (), _Loaded)}


def model(
    engine: EngineId,
    tag: Tag,
    shown: Shown | None,
    loaded: Mapping[str, int | None],
    context: Mapping[str, int],
) -> Model:
    """One model. Its effective context is the one set for it, else for the engine, else the one
    it is loaded with; the trained one says nothing about what Ollama will give it. In the cloud
    it is the trained one."""
    trained = tag.details.context_length
    if trained is None and shown is not None:
        trained = shown.number(".context_length")
    given = set_context(tag.name, context) or loaded.get(tag.name)
    return Model(
        name=tag.name,
        engine=engine,
        capabilities=capabilities(tag, shown),
        context_length=given or (trained if tag.is_cloud else None),
        trained_context=trained,
        size_bytes=tag.size,
        quantization=tag.details.quantization_level or None,
        family=tag.details.family or None,
        parameters=tag.details.parameter_size or None,
        loaded=tag.name in loaded,
        created=seconds_since_epoch(tag.modified_at),
        remote=tag.is_cloud,
    )


def set_context(name: str, context: Mapping[str, int]) -> int | None:
    """The context the user set for that model (`x` and `x:latest` are one), else the engine's."""
    return wished(context, name, name.removesuffix(":latest"))


def capabilities(tag: Tag, shown: Shown | None) -> tuple[Capability, ...]:
    """What the model can do, from what Ollama tells; guessed only where it is too old to tell."""
    told = tag.capabilities
    if told is None and shown is not None:
        told = shown.capabilities
    if told is None:
        told = _guess(tag, shown)
    return tuple(dict.fromkeys(_CAPABILITIES[each] for each in told if each in _CAPABILITIES))


def _guess(tag: Tag, shown: Shown | None) -> list[str]:
    families = {tag.details.family, *(tag.details.families or ())}
    if any("bert" in family for family in families):
        return ["embedding"]
    if shown is None:
        return ["completion"]
    if shown.number(".pooling_type") is not None:
        return ["embedding"]
    found = ["completion"]
    if shown.projector_info or families & {"clip", "mllama"}:
        found.append("vision")
    if ".Tools" in shown.template:
        found.append("tools")
    return found
