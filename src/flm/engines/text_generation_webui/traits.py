"""What text-generation-webui speaks and how it behaves. Recorded from 4.7.3, and read in its
`modules/api`."""

from __future__ import annotations

from flm.domain.traits import EngineTraits

TRAITS = EngineTraits(
    native=("chat", "completions", "embeddings", "images", "transcriptions"),
    ignored=("model", "n", "response_format", "user", "what it does not know"),
    rejected=("functions", "function_call"),
    overload="waits: one request at a time, more only with loaders that can",
    overflow="cuts the prompt in silence: 200",
    broken_stream="the connection ends without [DONE]",
    reasoning="reasoning_content",
    keeping=("load", "unload"),
    one_model=True,
)
"""`messages` is not passed on: it has no `count_tokens` and takes its key in another header."""
