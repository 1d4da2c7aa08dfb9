"""`/api/chat` and `/api/generate` as conversations with any engine."""

from __future__ import annotations

from collections.abc import Callable

from flm.dialects.client_ollama.answer import whole
from flm.dialects.client_ollama.completions import RawGeneration
from flm.dialects.client_ollama.native import OllamaNative
from flm.dialects.client_ollama.request import Given, Loading, read_chat, read_generate
from flm.dialects.client_ollama.stream import LineWriter
from flm.dialects.client_ollama.written import CHAT, GENERATE
from flm.dialects.codec import Usage
from flm.dialects.conversation import Native, Stamp, StreamWriter
from flm.dialects.openai_chat import ChatRequest
from flm.domain.policy import Policy
from flm.wire.snapshot import Target

Now = Callable[[], float]
"""UTC seconds."""


class OllamaConversation:
    """`Conversation` of Ollama's API.

    ``plain``: the prompt stands in no template of a chat. Nothing can be laid around it, so
    `native` alone answers it, for every engine.
    """

    keeper = None

    def __init__(self, path: str, given: Given, now: Now) -> None:
        self._path = path
        self._given = given
        self._now = now
        self._form = CHAT if path == "/api/chat" else GENERATE
        self.plain = given.plain

    @property
    def chat(self) -> ChatRequest:
        """See `Conversation.chat`."""
        return self._given.chat

    def native(self, target: Target) -> Native | None:
        """See `Conversation.native`."""
        if target.dialect == "ollama":
            return OllamaNative(self._path, self._given)
        if self.plain:
            now = self._now()
            return RawGeneration(self._given, Stamp("raw", now), self._now)
        return None

    def answer(self, body: bytes, usage: Usage | None, stamp: Stamp) -> bytes:
        """See `Conversation.answer`."""
        return whole(self._form, self.chat.model, body, usage, stamp, self._now())

    def writer(self, stamp: Stamp) -> StreamWriter:
        """See `Conversation.writer`."""
        return LineWriter(self._form, self.chat.model, stamp, self._now)


def parse_chat(body: bytes, policy: Policy, now: Now) -> OllamaConversation | Loading:
    """The request of `/api/chat` in `body`; `Loading` when it has no message.

    Raises `Refusal` 400 as `openai_chat.parse_chat` does.
    """
    given = read_chat(body, policy)
    return given if isinstance(given, Loading) else OllamaConversation("/api/chat", given, now)


def parse_generate(body: bytes, policy: Policy, now: Now) -> OllamaConversation | Loading:
    """The request of `/api/generate` in `body`; `Loading` when it has no prompt.

    Raises `Refusal` 400 as `openai_chat.parse_chat` does.
    """
    given = read_generate(body, policy)
    if isinstance(given, Loading):
        return given
    return OllamaConversation("/api/generate", given, now)
