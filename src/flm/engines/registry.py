"""The one list of adapters. Adding an engine adds its line here and touches no other folder."""

from __future__ import annotations

from flm.engines.custom.adapter import CustomAdapter
from flm.engines.embedded.adapter import EmbeddedAdapter
from flm.engines.llamacpp.adapter import LlamaCppAdapter
from flm.engines.lmstudio.adapter import LmStudioAdapter
from flm.engines.ollama.adapter import OllamaAdapter
from flm.engines.text_generation_webui.adapter import TextGenerationWebuiAdapter
from flm.engines.vllm.adapter import VllmAdapter
from flm.ports.engines import EngineAdapter


def adapters() -> tuple[EngineAdapter, ...]:
    """One of each kind, in the order of `flm.domain.engines.KINDS`."""
    return (
        OllamaAdapter(),
        VllmAdapter(),
        LmStudioAdapter(),
        LlamaCppAdapter(),
        TextGenerationWebuiAdapter(),
        EmbeddedAdapter(),
        CustomAdapter(),
    )
