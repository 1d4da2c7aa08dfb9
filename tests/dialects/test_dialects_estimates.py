"""Tokens that nobody counted: what is guessed of what comes along with a text."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flm.dialects.chat_parsing import parse_chat
from flm.dialects.estimates import estimated
from flm.domain.policy import Policy

SOUND = {"type": "input_audio", "input_audio": {"data": "A" * 400_000, "format": "wav"}}
FILE = {"type": "file", "file": {"file_data": "data:application/pdf;base64," + "A" * 400_000}}
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 400_000}}


def guess(**fields: Any) -> int:
    """The guess for a chat with these fields."""
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}], **fields})
    return estimated(parse_chat(body.encode(), Policy()))


@pytest.mark.parametrize("part", [SOUND, FILE, PICTURE])
def test_what_is_no_text_is_a_thousand_tokens_however_long(part: dict[str, Any]) -> None:
    """Its letters are base64, which no model reads."""
    assert guess(messages=[{"role": "user", "content": [part]}]) == 1003


def test_a_schema_is_text_whatever_its_types_are() -> None:
    """Two types in a list, and a property called `file`."""
    schema = {"type": ["string", "null"], "properties": {"file": {"type": "string"}}}
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    assert guess(tools=[tool]) == 22
