"""What an engine known by its address only is taken for."""

from __future__ import annotations

from flm.domain.traits import EngineTraits

TRAITS = EngineTraits(
    native=("chat", "completions", "embeddings"),
    perhaps=("rerank", "images", "transcriptions", "translations", "speech"),
    overload="not known: 429 and 503 mean it is full, KoboldCpp and Docker Model Runner say 503",
    overflow="not known: mostly 400; LocalAI may cut the prompt",
    broken_stream="an event with an error (SGLang then [DONE]), or the line is just cut (mlx_lm)",
    reasoning="reasoning_content or reasoning",
)
"""What more some of them can do is told by none of them in one way: they are asked. What they
ignore or reject is not known either.
"""
