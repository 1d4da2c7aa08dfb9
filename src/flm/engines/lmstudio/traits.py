"""What LM Studio speaks by itself, and how it behaves where engines differ."""

from __future__ import annotations

from flm.domain.traits import EngineTraits

TRAITS = EngineTraits(
    native=("chat", "completions", "embeddings", "responses", "messages"),
    rejected=("response_format.json_object",),
    overload="requests beyond its parallel ones wait, without a bound",
    overflow="as its user set: refuses, cuts the middle, or lets the window slide",
    broken_stream='an event with an error, or 200 with {"error": …} in place of a stream',
    reasoning="reasoning or reasoning_content, by model and setting",
    keeping=("pull", "load", "unload"),
)
