"""What llama.cpp's server speaks and how it behaves. Recorded from 2026.10, and read in its
`tools/server`."""

from __future__ import annotations

from flm.domain.traits import EngineTraits

TRAITS = EngineTraits(
    native=(
        *("chat", "completions", "embeddings", "responses", "messages", "count_tokens"),
        *("rerank", "transcriptions", "tokenize"),
    ),
    ignored=("model, where it serves one", "user", "store", "metadata", "what it does not know"),
    rejected=("tools with grammar", "tools with logprobs in a stream", "n beyond its slots"),
    overload="waits without a bound; 503 while it loads",
    overflow="400 exceed_context_size_error, with n_prompt_tokens and n_ctx",
    broken_stream='`data: {"error":…}`, no [DONE]',
    reasoning="reasoning_content",
    keeping=("pull", "remove", "load", "unload"),
)
"""``keeping`` is the router's: a server with one model keeps what it was started with."""
