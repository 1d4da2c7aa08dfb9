"""Which engines can do what is asked, and what is said when the one that was named cannot. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from flm.domain.models import Capability
from flm.domain.traits import Api
from flm.errors import Refusal
from flm.wire.snapshot import Routes, Target

MAX_NAMED = 3

_VERBS: Mapping[Api, str] = MappingProxyType(
    {
        "completions": "complete text",
        "embeddings": "make embeddings",
        "rerank": "rerank",
        "images": "draw",
        "transcriptions": "transcribe audio",
        "translations": "translate audio",
        "speech": "speak",
    }
)

_KINDS: Mapping[Api, str] = MappingProxyType(
    {
        "rerank": "vLLM with a reranking model, and llama.cpp started with --reranking",
        "images": "text-generation-webui with an image model, and engines that were added by"
        " their URL",
        "transcriptions": "vLLM, llama.cpp and Ollama with a model that hears, and"
        " text-generation-webui",
        "translations": "vLLM with a Whisper model",
        "speech": "engines that were added by their URL (flm engines add), such as LocalAI",
    }
)

_MARKS: Mapping[Api, Capability] = MappingProxyType(
    {
        "embeddings": "embeddings",
        "rerank": "rerank",
        "images": "images",
        "transcriptions": "audio",
        "translations": "audio",
    }
)
"""What is told of a model that can."""


def cannot(routes: Routes, target: Target, api: Api) -> Refusal:
    """The refusal of what `target`'s engine does not speak, naming who here could do it."""
    verb = _VERBS.get(api, f"do '{api}'")
    message = f"The engine '{target.engine}' cannot {verb}."
    able = list(_able(routes, api))
    if able:
        message += f" Here it can be asked of {', '.join(able[:MAX_NAMED])}."
    elif api in _KINDS:
        message += f" Nor can any other here; those that can: {_KINDS[api]}."
    return Refusal(400, "unsupported_operation", message, param="model", should_retry=False)


def only(routes: Routes, api: Api) -> str | None:
    """The one model here that could do it; None when there is none, or more than one."""
    found = _models(routes, api)
    return found[0][0] if len(found) == 1 else None


def _able(routes: Routes, api: Api) -> Iterator[str]:
    for name, target in _models(routes, api):
        yield f"'{name}' ({target.engine})"


def _models(routes: Routes, api: Api) -> list[tuple[str, Target]]:
    """Models that could do it: those known to, else those whose engine could."""
    found = [
        (name, target)
        for name, entry in sorted(routes.models.items())
        for target in map(routes.targets.get, entry.targets[:1])
        if target is not None and api in target.native
    ]
    mark = _MARKS.get(api)
    return [each for each in found if mark in each[1].capabilities] or found
