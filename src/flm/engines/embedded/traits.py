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
    ignored=("user", "parallel_tool_calls"),
    rejected=("n",),
    overload="never: requests beyond its slots wait",
    overflow="400 exceed_context_size_error, with both numbers",
    broken_stream="an event with an error, without [DONE]",
    reasoning="reasoning_content",
    keeping=("pull", "remove", "load", "unload"),
)
"""FLM itself keeps its models: they are files the user gave."""
