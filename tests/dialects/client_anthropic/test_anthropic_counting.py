"""Counting tokens: what engines are asked, what they say, and what is guessed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from anthropic_said import LLAMACPP, NATIVE, TOOL, VLLM, parsed, recorded

from flm.dialects import counting, estimates
from flm.dialects.client_anthropic.conversation import parse_counted
from flm.domain.policy import Policy


def test_recorded_counts_are_read() -> None:
    """Each engine in its own way, and none in another's."""
    theirs = recorded(LLAMACPP, "messages-count-tokens")[0]
    assert counting.counted_in(theirs) == 22
    assert counting.counted_in(recorded(VLLM, "messages-count-tokens")[0]) == 18
    assert counting.tokens_in(recorded(VLLM, "tokenize")[0]) == 2
    assert counting.tokens_in(recorded(LLAMACPP, "tokenize")[0]) is None
    assert counting.listed_in(recorded(LLAMACPP, "tokenize")[0]) == 3
    assert counting.prompt_in(b'{"prompt":"p"}') == "p"


@pytest.mark.parametrize("body", [b"", b"[]", b'{"error":"no"}', b'{"count":-1}'])
def test_what_is_no_count_is_none(body: bytes) -> None:
    """Then it is guessed."""
    assert counting.counted_in(body) is None
    assert counting.tokens_in(body) is None
    assert counting.listed_in(body) is None
    assert counting.prompt_in(body) is None


def test_what_engines_are_asked() -> None:
    """Messages and tools in OpenAI's words; then the text that was made of them."""
    chat = parsed(tools=[TOOL]).chat
    asked = json.loads(counting.tokenizing(chat, NATIVE).body)
    assert (list(asked), asked["model"]) == (["model", "messages", "tools"], "tiny-llama")
    assert counting.templating(chat, NATIVE).path == "/apply-template"
    call = counting.tokenizing_text("p", NATIVE)
    assert (call.path, json.loads(call.body)["content"]) == ("/tokenize", "p")


def test_counting_needs_no_limit() -> None:
    """`max_tokens` is no part of the request; what content engines do not know is translated."""
    body: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    conversation = parse_counted(json.dumps(body).encode(), Policy())
    native = conversation.native_count(NATIVE)
    assert native is not None
    call = native.counting(NATIVE)
    assert call.path == "/v1/messages/count_tokens"
    assert json.loads(call.body) == {**body, "model": "tiny-llama"}
    source = {"type": "text", "media_type": "text/plain", "data": "x"}
    body["messages"][0]["content"] = [{"type": "document", "source": source}]
    assert parse_counted(json.dumps(body).encode(), Policy()).native_count(NATIVE) is None


def test_a_guess_counts_letters_characters_and_pictures() -> None:
    """Japanese a token for each character, English one for four letters, a picture 1000."""
    assert (
        100
        <= estimates.estimated(parsed(messages=[{"role": "user", "content": "a" * 400}]).chat)
        < 120
    )
    assert (
        100
        <= estimates.estimated(parsed(messages=[{"role": "user", "content": "語" * 100}]).chat)
        < 120
    )
    source = {"type": "base64", "media_type": "image/png", "data": "A" * 40000}
    picture = [{"type": "image", "source": source}]
    assert (
        1000
        <= estimates.estimated(parsed(messages=[{"role": "user", "content": picture}]).chat)
        < 1030
    )
