"""What a conversation is known by: how it began."""

from __future__ import annotations

import hashlib

from flm.dialects.openai_chat import ChatRequest, Message

_KEPT = 2_000
"""Characters of each of the first messages that count."""


def trace_of(chat: ChatRequest) -> str:
    """The same text for every turn of one conversation: its model, all up to its first question."""
    parts = [chat.model]
    for message in chat.params.messages:
        parts.append(f"{message.role}:{_text(message)}")
        if message.role == "user":
            break
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()


def _text(message: Message) -> str:
    content = message.content
    if isinstance(content, str):
        return content[:_KEPT]
    if content is None:
        return ""
    texts = (bytes(part["text"]).decode() for part in content if "text" in part)
    return "".join(texts)[:_KEPT]
