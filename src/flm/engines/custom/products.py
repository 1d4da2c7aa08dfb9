"""What some products tell of their models beside `/v1/models`, one or two GETs more.

A product is told from the shape of its list; the fingerprint, which asks more, has the last word
on its name.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Literal

import msgspec

from flm.domain.engines import Address
from flm.engines.answers import LISTING, Whole, answered
from flm.engines.custom.models import Entry, Facts, owner
from flm.ports.engines import Probe, Prober

Ask = Callable[[str], Awaitable[Probe]]
Product = Literal["SGLang", "KoboldCpp", "LocalAI", "Lemonade"]


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What a product told. ``every``: of each of its models; ``each``: of single ones, by id."""

    product: str | None = None
    version: str | None = None
    every: Facts = Facts()
    each: Mapping[str, Facts] = {}

    def of(self, model: str) -> Facts:
        """What is known of the model of that id."""
        return self.each.get(model, self.every)


SECONDS = 1.0
"""How long a question may take that is only asked for details: a look has an end."""

_OWNERS: dict[str, str] = {
    "docker": "Docker Model Runner",
    "tabbyapi": "TabbyAPI",
    "vllm": "vLLM",
}


async def ask(prober: Prober, address: Address, key: str | None, found: list[Entry]) -> Told:
    """What the product at `address` tells of the models it listed."""

    def get(path: str) -> Awaitable[Probe]:
        return prober.get(address, path, key=key, seconds=SECONDS, limit=LISTING)

    product = told_by(found)
    if product is None:
        return Told(product=_OWNERS.get(owner(found)))
    return await _ASKED[product](get)


def told_by(found: list[Entry]) -> Product | None:
    """Which product that tells more lists its models like that, None for all others."""
    whose = owner(found)
    if whose == "sglang":
        return "SGLang"
    if whose == "koboldcpp":
        return "KoboldCpp"
    if whose == "lemonade":
        return "Lemonade"
    if found and all(not entry.fields.keys() - {"id", "object"} for entry in found):
        return "LocalAI"
    return None


class _Info(msgspec.Struct):
    """SGLang's `/get_model_info`; the last two are of 0.5 and later."""

    is_generation: bool
    has_image_understanding: bool = False
    has_audio_understanding: bool = False


async def _sglang(get: Ask) -> Told:
    info = answered(await get("/get_model_info"), _Info)
    if info is None:
        return Told(product="SGLang")
    words = {"chat" if info.is_generation else "embedding"}
    if info.has_image_understanding:
        words.add("vision")
    if info.has_audio_understanding:
        words.add("audio")
    return Told(product="SGLang", every=Facts(words=frozenset(words), loaded=True))


class _Kobold(msgspec.Struct):
    """KoboldCpp's `/api/extra/version`: what was loaded when it was started."""

    result: str
    version: str = ""
    llm: bool = True
    vision: bool = False
    audio: bool = False
    embeddings: bool = False
    txt2img: bool = False


class _Value(msgspec.Struct):
    value: Whole


async def _koboldcpp(get: Ask) -> Told:
    flags, context = await asyncio.gather(
        get("/api/extra/version"), get("/api/extra/true_max_context_length")
    )
    told = answered(flags, _Kobold)
    size = answered(context, _Value)
    if told is None or told.result != "KoboldCpp":
        return Told(product="KoboldCpp")
    meant = {
        "chat": told.llm,
        "vision": told.vision,
        "audio": told.audio,
        "embeddings": told.embeddings,
        "images": told.txt2img,
    }
    words = frozenset(word for word, has in meant.items() if has)
    return Told(
        product="KoboldCpp",
        version=told.version or None,
        every=Facts(words=words, context=size.value if size else None, loaded=True),
    )


class _Capable(msgspec.Struct):
    id: str
    capabilities: list[str] = []
    input_modalities: list[str] = []


class _CapableList(msgspec.Struct):
    data: list[_Capable]


class _InMemory(msgspec.Struct):
    id: str


class _System(msgspec.Struct):
    loaded_models: list[_InMemory] = []


class _WellKnown(msgspec.Struct):
    version: str


async def _localai(get: Ask) -> Told:
    """Its list of capabilities is of summer 2026; before that it tells nothing of them."""
    capable, system, itself = await asyncio.gather(
        get("/v1/models/capabilities"), get("/system"), get("/.well-known/localai.json")
    )
    known = answered(itself, _WellKnown)
    if known is None:
        return Told()  # others list their models as briefly
    told = answered(capable, _CapableList)
    memory = answered(system, _System)
    loaded = {each.id for each in memory.loaded_models} if memory is not None else None
    each = {
        model.id: Facts(
            words=frozenset(
                (*model.capabilities, *(f"{kind}-input" for kind in model.input_modalities))
            ),
            loaded=None if loaded is None else model.id in loaded,
        )
        for model in (told.data if told is not None else ())
    }
    return Told(product="LocalAI", version=known.version, each=each)


class _Options(msgspec.Struct):
    ctx_size: Whole | None = None


class _Loaded(msgspec.Struct):
    model_name: str
    recipe_options: _Options = msgspec.field(default_factory=_Options)


class _Health(msgspec.Struct):
    """Lemonade's `/v1/health`."""

    version: str = ""
    all_models_loaded: list[_Loaded] = []


async def _lemonade(get: Ask) -> Told:
    """What its models can do stands in its list; which are loaded, and with what context, here."""
    health = answered(await get("/v1/health"), _Health)
    if health is None:
        return Told(product="Lemonade")
    return Told(
        product="Lemonade",
        version=health.version or None,
        every=Facts(loaded=False),
        each={
            loaded.model_name: Facts(context=loaded.recipe_options.ctx_size, loaded=True)
            for loaded in health.all_models_loaded
        },
    )


_ASKED: dict[Product, Callable[[Ask], Awaitable[Told]]] = {
    "SGLang": _sglang,
    "KoboldCpp": _koboldcpp,
    "LocalAI": _localai,
    "Lemonade": _lemonade,
}
