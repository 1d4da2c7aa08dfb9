"""The clients' dialects as the edge sees them: how errors are said, and how a silence is filled."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

from flm.dialects.client_anthropic.errors import AnthropicForm
from flm.dialects.client_ollama.errors import OllamaForm
from flm.dialects.client_responses.errors import ResponsesForm
from flm.dialects.openai_errors import OpenAIForm
from flm.domain.traits import ClientDialect
from flm.errors import Refusal


class ClientForm(Protocol):
    """One client dialect. Pure."""

    @property
    def stream_type(self) -> bytes:
        """The content type of its streams."""
        ...

    @property
    def ping(self) -> bytes:
        """What may be sent while there is nothing to say; b"" where nothing may be."""
        ...

    def status(self, refusal: Refusal) -> int:
        """The HTTP status its clients expect of it."""
        ...

    def error(self, refusal: Refusal, request_id: str) -> bytes:
        """The body of a refused request."""
        ...

    def broken(self, refusal: Refusal, request_id: str) -> bytes:
        """The event or line that ends a stream with an error."""
        ...


FORMS: Mapping[ClientDialect, ClientForm] = MappingProxyType(
    {
        "openai": OpenAIForm(),
        "responses": ResponsesForm(),
        "anthropic": AnthropicForm(),
        "ollama": OllamaForm(),
    }
)
