"""A Messages request as the gateway takes it: `Conversation` for Anthropic's clients."""

from __future__ import annotations

from flm.dialects.client_anthropic.answer import whole_answer
from flm.dialects.client_anthropic.native import NativeMessages
from flm.dialects.client_anthropic.request import Judged, judge
from flm.dialects.client_anthropic.stream import MessagesWriter
from flm.dialects.codec import Usage
from flm.dialects.conversation import Stamp
from flm.dialects.openai_chat import ChatRequest
from flm.domain.policy import Policy
from flm.wire.snapshot import Target


class MessagesConversation:
    """A `Conversation` of the Messages API."""

    keeper = None
    """Nothing of it is kept."""

    def __init__(self, judged: Judged) -> None:
        self._judged = judged

    @property
    def chat(self) -> ChatRequest:
        """See `Conversation.chat`."""
        return self._judged.chat

    def native(self, target: Target) -> NativeMessages | None:
        """See `Conversation.native`.

        llama.cpp and vLLM translate into OpenAI's words inside, and lose on the way what FLM's
        translation keeps: schemas of answers, an effort, a tool that was named, tools without a
        schema, documents. With those the request is translated here; without, they know more
        than their OpenAI side tells (which sequence ended the answer, a budget for thoughts).
        """
        if "messages" not in target.native or not self._judged.plain:
            return None
        return self.passed_on()

    def native_count(self, target: Target) -> NativeMessages | None:
        """The same for counting its tokens, which asks less of an engine."""
        if "count_tokens" not in target.native or not self._judged.readable:
            return None
        return self.passed_on()

    def passed_on(self) -> NativeMessages:
        """The request as it came."""
        judged = self._judged
        return NativeMessages(judged.fields, judged.chat.model, judged.held_back)

    def answer(self, body: bytes, usage: Usage | None, stamp: Stamp) -> bytes:
        """See `Conversation.answer`."""
        return whole_answer(body, usage, self.chat.model, self._judged.stops, stamp)

    def writer(self, stamp: Stamp) -> MessagesWriter:
        """See `Conversation.writer`."""
        return MessagesWriter(self.chat.model, self._judged.stops, stamp)


def parse_messages(body: bytes, policy: Policy, *, remote: bool = False) -> MessagesConversation:
    """The conversation in `body`. Raises `Refusal` 400 as `request.judge` does."""
    return MessagesConversation(judge(body, policy, remote=remote, counting=False))


def parse_counted(body: bytes, policy: Policy, *, remote: bool = False) -> MessagesConversation:
    """What tokens are to be counted of: the same without `max_tokens`. Raises as that does."""
    return MessagesConversation(judge(body, policy, remote=remote, counting=True))
