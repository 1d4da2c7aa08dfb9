"""All engines that the contract suite holds to the same contract. One more is one line here."""

from __future__ import annotations

from support.fakes import llamacpp, lmstudio, ollama, openai_like, textgen, vllm
from support.fakes.real import REAL
from support.fakes.specimen import Specimen

FAKES: tuple[Specimen, ...] = (
    vllm.SPECIMEN,
    llamacpp.SPECIMEN,
    llamacpp.ROUTER,
    textgen.SPECIMEN,
    ollama.SPECIMEN,
    lmstudio.SPECIMEN,
    *openai_like.SPECIMENS,
)
"""Each speaks the documented bytes of a named version."""

EVERY: tuple[Specimen, ...] = (*FAKES, *REAL)
"""The fakes, a real llama.cpp, and a real vLLM where one is named."""


def with_mood() -> list[tuple[Specimen, str]]:
    """Each engine with each state it can be in as a whole."""
    return [(specimen, mood) for specimen in FAKES for mood in specimen.moods]


def with_break() -> list[tuple[Specimen, str]]:
    """Each engine with each way in which a stream of its can fail."""
    return [(specimen, way) for specimen in FAKES for way in specimen.breaks]


def named(pairs: list[tuple[Specimen, str]]) -> list[str]:
    """What tests of these pairs are called."""
    return [f"{specimen} {which}" for specimen, which in pairs]
