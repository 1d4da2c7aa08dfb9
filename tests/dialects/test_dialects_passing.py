"""The model's name in an answer, spelled anew where it stands."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flm.dialects.passing import respelled

TEXTS = st.text(max_size=40)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(TEXTS | st.just("model"), inner, max_size=3)
    ),
    max_leaves=8,
)


def test_everything_but_the_name_stays_as_it_came() -> None:
    """Spaces, order and numbers as the engine wrote them."""
    body = b'{"id": 1.50, "model": "qwen3",  "choices": []}'
    assert respelled(body, "qwen3", "a/b") == b'{"id": 1.50, "model":"a/b",  "choices": []}'


@pytest.mark.parametrize(
    "body",
    [
        b'{"choices":[{"model":"m"}],"model":"m"}',
        b'{"model":"m","role":"model"}',
        b'{"model" :"m"}',
        b'{"\\u006dodel":"m"}',
        b'{"model":"\\u006d"}',
    ],
)
def test_where_a_parser_is_needed_nothing_is_said(body: bytes) -> None:
    """The word stands there twice, or is written in a way of its own."""
    assert respelled(body, "m", "n") == b""


@given(st.dictionaries(TEXTS, VALUES, max_size=4), TEXTS, TEXTS, st.booleans())
def test_it_is_the_same_object_with_another_name_or_nothing(
    others: dict[str, Any], was: str, name: str, spaced: bool
) -> None:
    """Whatever the fields and texts beside it hold."""
    told = {**others, "model": was}
    body = json.dumps(told, separators=(", ", ": ") if spaced else (",", ":")).encode()
    mended = respelled(body, was, name)
    assert mended == b"" or json.loads(mended) == {**told, "model": name}
