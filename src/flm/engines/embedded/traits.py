"""What the embedded llama.cpp speaks by itself."""

from __future__ import annotations

from flm.domain.traits import EngineTraits

TRAITS = EngineTraits(
    native=(
        "chat",
        "completions",
        "embeddings",
        "responses",
        "messages",
        "count_tokens",
        "tokenize",
    ),
    ignored=("model", "user", "store", "metadata", "what it does not know"),
    rejected=("tools with grammar", "tools with logprobs in a stream", "n beyond its slots"),
    overload="waits without a bound",
    overflow="400 exceed_context_size_error, with n_prompt_tokens and n_ctx",
    broken_stream='`data: {"error":…}`, no [DONE]',
    reasoning="reasoning_content",
    keeping=("pull", "remove", "load", "unload"),
)
"""FLM itself keeps its models: they are files the user gave."""
