"""What vLLM speaks and how it behaves. Recorded from 0.32.0 on the CPU, and read in its source."""

from __future__ import annotations

from flm.domain.traits import EngineTraits

TRAITS = EngineTraits(
    native=(
        *("chat", "completions", "embeddings", "responses", "messages", "count_tokens"),
        *("rerank", "transcriptions", "translations", "tokenize"),
    ),
    ignored=("user", "store", "metadata", "service_tier"),
    rejected=("suffix", "tools without --enable-auto-tool-choice and --tool-call-parser"),
    overload="waits without a bound; 503 where --max-num-queued-reqs is set",
    overflow="400 BadRequestError, `maximum context length is N tokens`",
    broken_stream='`data: {"error":…}`, then `[DONE]`',
    reasoning="reasoning (before 2026: reasoning_content)",
)
