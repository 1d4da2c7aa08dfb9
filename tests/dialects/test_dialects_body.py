"""Request bodies: decoded one level deep, and never deeper than allowed."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flm.dialects.body import check_depth, decode_object
from flm.errors import Refusal

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text('[]{}"\\,:ab あ😀', max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text('[]{}"\\ab', max_size=4), inner, max_size=3)
    ),
    max_leaves=30,
)


def depth_of(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth_of, value), default=0)
    return 0


def passes(body: bytes, limit: int) -> bool:
    try:
        check_depth(body, limit)
    except Refusal:
        return False
    return True


@given(json_values, st.integers(0, 6))
def test_depth_is_what_a_parser_would_count(value: object, limit: int) -> None:
    """Brackets, quotes and backslashes inside strings do not count."""
    body = json.dumps(value).encode()
    assert passes(body, limit) == (depth_of(value) <= limit)


@given(json_values)
def test_values_stay_as_they_came(value: object) -> None:
    """What is decoded one level deep is the same JSON underneath."""
    fields = decode_object(json.dumps({"a": value, "b": 1}).encode())
    assert json.loads(bytes(fields["a"])) == value
    assert bytes(fields["b"]) == b"1"


def test_the_last_of_two_equal_keys_counts() -> None:
    """A duplicate is one field, as engines read it, however its name is spelled."""
    assert bytes(decode_object(b'{"a":1,"\\u0061":2}')["a"]) == b"2"


def test_64_levels_pass_and_65_do_not() -> None:
    """The object itself is the first level."""
    decode_object(b'{"a":' + b"[" * 63 + b"]" * 63 + b"}")
    with pytest.raises(Refusal) as refused:
        decode_object(b'{"a":' + b"[" * 64 + b"]" * 64 + b"}")
    assert (refused.value.status, refused.value.code) == (400, "invalid_json")
    assert "64 levels" in refused.value.message


def test_a_million_open_brackets_are_refused_without_recursion() -> None:
    """Deep nesting costs neither stack nor time."""
    with pytest.raises(Refusal, match="64 levels"):
        decode_object(b'{"a":' + b"[{" * 1_000_000)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"[]",
        b'"text"',
        b"null",
        b'{"a":1}x',
        b'{"a":nul}',
        b'{"a":[1,2}',
        b'{"a":NaN}',
        b'{"a":"\xff"}',
        b'{"a":{"b":"\xed\xa0\x80"}}',
        b'{"\xff":1}',
        b'\xef\xbb\xbf{"a":1}',
        b'{"a":"\\ud800"}',
    ],
)
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    """Empty, torn, another type, a byte order mark, or no UTF-8 anywhere in it."""
    with pytest.raises(Refusal) as refused:
        decode_object(body)
    assert (refused.value.status, refused.value.code) == (400, "invalid_json")


def test_bad_utf8_is_found_across_the_pieces_it_is_looked_at_in() -> None:
    """A body over 1 MB is checked whole, and a character on the border of two pieces is fine."""
    good = b'{"a":"' + b"x" * ((1 << 20) - 7) + "あ".encode() * 10 + b'"}'
    assert len(decode_object(good)) == 1
    with pytest.raises(Refusal, match="UTF-8"):
        decode_object(good[:-2] + b"\xe3\x81" + b'"}')


def test_more_than_200_fields_are_refused() -> None:
    """No dialect has so many; each costs."""
    body = json.dumps({f"field{number}": 1 for number in range(201)}).encode()
    with pytest.raises(Refusal, match="200 fields"):
        decode_object(body)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_object_or_a_refusal(body: bytes) -> None:
    """Nothing else is ever raised."""
    try:
        assert isinstance(decode_object(body), dict)
    except Refusal as refused:
        assert refused.code == "invalid_json"
