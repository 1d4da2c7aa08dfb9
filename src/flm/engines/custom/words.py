"""The words by which engines tell what a model can do."""

from __future__ import annotations

from collections.abc import Iterable

from flm.domain.models import CAPABILITIES, Capability

UNKNOWN: tuple[Capability, ...] = ("chat", "embeddings")
"""A model of which nothing is told: both are taken for possible, and the engine says no itself."""

_KINDS: dict[str, Capability] = {
    "chat": "chat", "completion": "chat", "completions": "chat", "completion_chat": "chat",
    "text-generation": "chat", "generate": "chat", "llm": "chat", "vlm": "chat",
    "language": "chat", "embedding": "embeddings", "embeddings": "embeddings",
    "embed": "embeddings", "feature-extraction": "embeddings", "rerank": "rerank",
    "reranker": "rerank", "reranking": "rerank", "image": "images", "images": "images",
    "image-generation": "images", "text-to-image": "images",
}  # fmt: skip
"""What a model is for."""

_OTHERS = frozenset(
    {
        "transcription", "transcript", "realtime-transcription", "tts", "speech", "edit",
        "upscaling", "video", "vad", "sound_generation", "moderation", "classify", "detection",
    }
)  # fmt: skip
"""What a model may be for that FLM has no word for: such a model does not chat."""

_ABILITIES: dict[str, Capability] = {
    "vision": "vision", "vlm": "vision", "image-input": "vision", "audio": "audio",
    "audio-input": "audio", "chat-transcription": "audio", "tools": "tools",
    "tool_use": "tools", "tool-calling": "tools", "tool_calling": "tools",
    "function_calling": "tools", "function-calling": "tools", "reasoning": "reasoning",
    "thinking": "reasoning", "include_reasoning": "reasoning",
}  # fmt: skip
"""What a model that chats can do besides."""


def capabilities(words: Iterable[str]) -> tuple[Capability, ...]:
    """What those words mean. A model that has abilities, or words without a meaning here, and is
    for nothing else, chats.
    """
    said = {word.lower() for word in words}
    found = {_KINDS[word] for word in said if word in _KINDS}
    if not found and not said & _OTHERS:
        found.add("chat")
    if "chat" in found:
        found |= {_ABILITIES[word] for word in said if word in _ABILITIES}
    return tuple(each for each in CAPABILITIES if each in found)
