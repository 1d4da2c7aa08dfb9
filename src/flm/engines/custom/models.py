"""An OpenAI list of models, with what many engines add to it.

Fields are read one by one: one that has another shape than here costs itself, not the model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import msgspec

from flm.domain.engines import EngineId
from flm.domain.models import Capability, Model, name_of_file
from flm.engines.answers import EXACT, Whole, decoded, entries
from flm.engines.custom.words import UNKNOWN, capabilities

T = TypeVar("T")


class Entry(msgspec.Struct):
    """One entry of `data`: its id, and all its fields as they came."""

    id: str
    fields: Mapping[str, msgspec.Raw]

    def told(self, name: str, shape: type[T]) -> T | None:
        """The field `name` where it is of that shape."""
        raw = self.fields.get(name)
        return None if raw is None else decoded(bytes(raw), shape)

    def number(self, name: str) -> int | None:
        """The field `name` as a whole number above 0, where it is such a number."""
        told = self.told(name, float)
        return int(told) if told is not None and 0 < told <= EXACT else None


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine tells of a model elsewhere than in its list; None: it does not."""

    words: frozenset[str] | None = None
    context: int | None = None
    loaded: bool | None = None


class _List(msgspec.Struct):
    data: list[msgspec.Raw]


class _Meta(msgspec.Struct):
    """llama.cpp's (llamafile, `jan serve`)."""

    n_ctx: Whole | None = None
    n_ctx_train: Whole | None = None
    size: Whole | None = None


class _Parameters(msgspec.Struct):
    """TabbyAPI's."""

    max_seq_len: Whole | None = None
    use_vision: bool = False


class _Dmr(msgspec.Struct):
    """Docker Model Runner's; its sizes are texts (`4.68GiB`)."""

    context_window: Whole | None = None
    architecture: str | None = None
    parameters: str | None = None
    quantization: str | None = None


class _Architecture(msgspec.Struct):
    """llama.cpp's and OpenRouter's."""

    input_modalities: list[str] = []
    output_modalities: list[str] = []


def listed(body: bytes) -> list[Entry] | None:
    """The entries of `/v1/models`, None when it is no such list."""
    found = decoded(body, _List)
    if found is None:
        return None
    every = entries(found.data, dict[str, msgspec.Raw])
    made = ((decoded(bytes(fields.get("id", b"")), str), fields) for fields in every)
    return [Entry(id_, fields) for id_, fields in made if id_]


def owner(found: list[Entry]) -> str:
    """What the first entry says of whom it belongs to, in lower case; '' when it does not."""
    return (found[0].told("owned_by", str) or "").lower() if found else ""


def models(
    engine: EngineId,
    found: list[Entry],
    facts: Callable[[str], Facts] = lambda _: Facts(),
    *,
    cloud: bool = False,
) -> tuple[Model, ...]:
    """The models by their ids. ``facts``: what is told of one elsewhere; ``cloud``: also those
    whose prompts the engine sends to somebody else's machines.
    """
    made: dict[str, Model] = {}
    for entry in found:
        short = name_of_file(entry.id)
        name = entry.id if short in made else short
        model = _model(engine, name, entry, facts(entry.id))
        if cloud or not model.remote:
            made.setdefault(name, model)
    return tuple(made.values())


def _model(engine: EngineId, name: str, entry: Entry, facts: Facts) -> Model:
    meta = entry.told("meta", _Meta) or _Meta()
    tabby = entry.told("parameters", _Parameters) or _Parameters()
    dmr = entry.told("dmr", _Dmr) or _Dmr()
    context = (
        facts.context
        or entry.number("max_model_len")  # vLLM, SGLang
        or meta.n_ctx
        or tabby.max_seq_len
        or entry.number("context_length")  # Lemonade, OpenRouter
        or entry.number("context_window")  # Groq
    )
    trained = (
        meta.n_ctx_train
        or entry.number("max_context_window")  # Lemonade
        or entry.number("max_context_length")  # Mistral
        or dmr.context_window
    )
    return Model(
        name=name,
        engine=engine,
        engine_name=entry.id if entry.id != name else None,
        capabilities=_capabilities(entry, tabby, facts),
        context_length=context or None,
        trained_context=trained or None,
        size_bytes=meta.size or _gigabytes(entry),
        quantization=dmr.quantization or None,
        family=dmr.architecture or None,
        parameters=dmr.parameters or None,
        loaded=facts.loaded,
        created=entry.number("created") or 0,
        remote=entry.told("cloud_provider", str) is not None,  # Lemonade
    )


def _gigabytes(entry: Entry) -> int | None:
    """Lemonade's `size`, in GB."""
    size = entry.told("size", float) if "checkpoint" in entry.fields else None
    return int(size * 1e9) if size is not None and 0 < size < 1e6 else None


def _capabilities(entry: Entry, tabby: _Parameters, facts: Facts) -> tuple[Capability, ...]:
    """From the words it uses anywhere; `UNKNOWN` where it uses none."""
    words = set(facts.words or ())
    told = facts.words is not None
    for name in ("labels", "capabilities", "supported_parameters"):
        said = entry.told(name, list[str])
        if said is None and name == "capabilities":
            flags = entry.told(name, dict[str, bool])
            said = None if flags is None else [flag for flag, on in flags.items() if on]
        told = told or said is not None
        words.update(said or ())
    kind = entry.told("type", str)
    if kind is not None and kind != "model":
        words.add(kind)
    architecture = entry.told("architecture", _Architecture) or _Architecture()
    # that it takes text says nothing of what it is for
    words.update(f"{each}-input" for each in architecture.input_modalities if each != "text")
    if architecture.output_modalities and "text" not in architecture.output_modalities:
        words.update(architecture.output_modalities)
    if tabby.use_vision:
        words.add("vision")
    return capabilities(words) if words or told else UNKNOWN
