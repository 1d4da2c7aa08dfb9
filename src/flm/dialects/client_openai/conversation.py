"""`/v1/chat/completions` with tools that are no functions as a conversation with any engine."""

from __future__ import annotations

from flm.dialects.client_openai.answer import whole_answer
from flm.dialects.client_openai.request import as_functions, is_foreign
from flm.dialects.client_openai.stream import CustomCallsWriter
from flm.dialects.codec import Usage
from flm.dialects.conversation import Native, Stamp
from flm.dialects.openai_chat import ChatRequest
from flm.wire.snapshot import Target


class OpenAIConversation:
    """`Conversation` of OpenAI's own dialect. Raises `Refusal` as `as_functions` does."""

    keeper = None

    def __init__(self, chat: ChatRequest) -> None:
        self._include_usage = chat.include_usage
        self._chat, self._tools = as_functions(chat)

    @property
    def chat(self) -> ChatRequest:
        """See `Conversation.chat`."""
        return self._chat

    def native(self, target: Target) -> Native | None:
        """None: the engines of this dialect know functions only."""
        del target
        return None

    def answer(self, body: bytes, usage: Usage | None, stamp: Stamp) -> bytes:
        """See `Conversation.answer`."""
        del usage
        return whole_answer(body, self._tools, _seed(stamp))

    def writer(self, stamp: Stamp) -> CustomCallsWriter:
        """See `Conversation.writer`."""
        return CustomCallsWriter(self._chat.model, self._tools, self._include_usage, _seed(stamp))


def conversation_of(chat: ChatRequest) -> OpenAIConversation | None:
    """The conversation for a chat that asks for more than functions; None for all others."""
    return OpenAIConversation(chat) if is_foreign(chat) else None


def _seed(stamp: Stamp) -> str:
    return stamp.id.removeprefix("req_")
