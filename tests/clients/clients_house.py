"""What the clients' tests share: the house they ask, and the words it answers."""

from __future__ import annotations

import base64
from typing import Any, NamedTuple

from clients_engines import ActingEngine, OllamaActor, OpenAiActor

from support.running_flm import Flm, Served

SENTENCE = "Say it twice: 日本語のテスト、こんにちは世界。 Then 😀 and 🎉, at last the end."
"""What the models `words` and `long` say, by a real llama.cpp."""

SENTENCE_TOKENS = 24

WHERE = "Weather in 東京 and Köln?"
"""What the acting models call `get_weather` for, twice at once."""

WEATHER: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
}
"""The parameters of the tool `get_weather`."""

THING: dict[str, Any] = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "height": {"type": "integer"}},
    "required": ["name", "height"],
    "additionalProperties": False,
}

PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJg"
    "gg=="
)
"""A PNG of one pixel, in base64."""

PIXEL_BYTES = base64.b64decode(PIXEL)


class House(NamedTuple):
    """A running FLM: `words`, `long` and `embedder` in a real llama.cpp, `stage/…` on an engine
    of OpenAI's API, `ollama/…` on an Ollama; `claude-*` and `gpt-*` are published and lead to
    `stage/coder`.
    """

    flm: Flm
    served: Served
    key: str
    openai: OpenAiActor
    ollama: OllamaActor

    @property
    def base_url(self) -> str:
        """With `/v1`, as OpenAI's clients want it."""
        return self.served.base_url

    @property
    def root(self) -> str:
        """Without, as Anthropic's and Ollama's do."""
        return self.base_url.removesuffix("/v1")

    def name(self, engine: ActingEngine, role: str) -> str:
        """How a client names that model of an acting engine."""
        return f"stage/{role}" if engine is self.openai else f"ollama/{role}:latest"
