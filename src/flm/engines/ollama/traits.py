"""What Ollama speaks by itself, and how it behaves where engines differ."""

from __future__ import annotations

from flm.domain.traits import EngineTraits

TRAITS = EngineTraits(
    native=("completions", "transcriptions"),
    translated=("chat", "embeddings"),
    renamed=(
        ("max_tokens", "options.num_predict"),
        ("max_completion_tokens", "options.num_predict"),
        ("response_format", "format"),
        ("reasoning_effort", "think"),
        ("temperature", "options.temperature"),
        ("top_p", "options.top_p"),
        ("seed", "options.seed"),
        ("stop", "options.stop"),
        ("presence_penalty", "options.presence_penalty"),
        ("frequency_penalty", "options.frequency_penalty"),
    ),
    ignored=("n", "logit_bias", "tool_choice", "parallel_tool_calls", "user"),
    overload="503 'server busy' beyond OLLAMA_MAX_QUEUE (512); before that requests wait",
    overflow="cuts the prompt in silence, or 400 where truncate and shift are off, as FLM asks",
    broken_stream='a last line {"error": …}; its OpenAI layer just ends',
    reasoning="thinking",
    keeping=("pull", "remove", "load", "unload"),
)
"""`responses` and `messages` are not passed on: they ignore `tool_choice`, and when a model dies
in mid-stream they end as if all had been said."""
