"""Bodies without the base64 in them: what is cut, what stays, and that all of it comes back."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Generator

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flm.gateway.outline import PIECE, Blobs

NONCE = bytes(range(16))
LEAD = b"000102030405060708090a0b0c0d0e0f"
LONG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + random.Random(7).randbytes(99_992))
"""133,336 letters."""

URL = b"data:image/png;base64," + LONG


def last(steps: Generator[None, None, bytes]) -> tuple[bytes, int]:
    """What the steps make, and how many there are."""
    count = 0
    try:
        while True:
            next(steps)
            count += 1
    except StopIteration as end:
        return end.value, count


def cut(body: bytes) -> tuple[bytes, Blobs]:
    """The outline of `body`, and what was cut out."""
    blobs = Blobs(NONCE)
    return last(blobs.outlining(body))[0], blobs


def test_a_picture_is_cut_but_for_its_first_letters() -> None:
    """What is left is the same body with a short picture, in base64 as well."""
    body = b'{"messages":[{"url":"%b"}],"n":1}' % URL
    outline, blobs = cut(body)
    mark = LEAD + b"00000000"
    assert outline == b'{"messages":[{"url":"data:image/png;base64,%b"}],"n":1}' % (
        LONG[:256] + mark
    )
    assert base64.b64decode(LONG[:256] + mark, validate=True).startswith(b"\x89PNG\r\n\x1a\n")
    assert last(blobs.gathering(outline))[0] == body
    assert b"".join(blobs.pieces(outline)) == body


def test_a_mark_comes_back_wherever_it_was_taken() -> None:
    """Twice, in another order, inside a string in a string, or not at all."""
    outline, blobs = cut(b'[{"url":"%b"},{"data":"%b"}]' % (URL, b"A" * 70_000))
    first, second = (json.loads(outline)[0]["url"], json.loads(outline)[1]["data"])
    inside = json.dumps({"arguments": json.dumps({"data": first})}).encode()
    whole = json.dumps({"arguments": json.dumps({"data": URL.decode()})}).encode()
    both = f"{second} {first} {second}".encode()
    assert b"".join(blobs.pieces(inside)) == whole
    assert b"".join(blobs.pieces(both)) == b"%b %b %b" % (b"A" * 70_000, URL, b"A" * 70_000)
    assert b"".join(blobs.pieces(b"none")) == b"none"


@pytest.mark.parametrize(
    "body",
    [
        b'{"data":"%b"}',
        b'{"data" : "%b" , "a":1}',
        b'{"source":{"type":"base64","media_type":"image/png","data":"%b"}}',
        b'{\n  "images": [\n    "iVBORw0KGgo=",\n    "%b"\n  ]\n}',
        b'{"images":["%b","iVBORw0KGgo="]}',
        b'{"image_url":"data:image/svg+xml;charset=utf-8;base64,%b"}',
        b'{"url":"DATA:image/png;BASE64,%b"}',
        b'{"file_data":"data:application/pdf;name=a.pdf;base64,%b"}',
        b'{"text":"a \\"quote\\" \\\\","url":"data:;base64,%b"}',
    ],
)
def test_media_of_every_dialect_are_cut(body: bytes) -> None:
    """Under their names and in lists, however the JSON is written."""
    whole = body % LONG
    outline, blobs = cut(whole)
    assert (len(blobs), len(outline) < 1000) == (1, True)
    assert b"".join(blobs.pieces(outline)) == whole


@pytest.mark.parametrize(
    "body",
    [
        b'{"content":"%b"}' % LONG,
        b'{"type":"text","text":"%b"}' % URL,
        b'{"arguments":"{\\"url\\":\\"%b\\"}"}' % URL,
        b'{"text":"url\\":","%b":1}' % LONG,
        b'["a",{"b":["x"],"%b":1}]' % LONG,
        b'{"url":"https://a.example/%b"}' % LONG,
        b'{"url":"data:text/plain,%b"}' % LONG,
        b'{"data":"%b\\n%b"}' % (LONG, LONG),
        b'{"data":"%b\\/%b"}' % (LONG, LONG),
        b'{"data":"%b\n%b"}' % (LONG, LONG),
        b'{"data":"%b\x00"}' % LONG,
        b'{"data":"%b %b"}' % (LONG, LONG),
        '{"data":"%s絵"}'.encode() % LONG,
        b'{"data":"%b\xff"}' % LONG,
        b'{"data":"%b"}' % LONG[:60_000],
        b'{"data":"%b' % LONG,
        b'{"data":"%b"' % LONG,
        b'{"data":[%b]}' % (b"1" * 100_000),
        b'{"data":   "" %b}' % (b" " * 100_000),
        b"%b" % LONG,
        b'"%b"' % LONG,
        b"",
    ],
)
def test_all_else_stays(body: bytes) -> None:
    """Texts, whatever they look like; what is too short, or no base64 to its last letter."""
    outline, blobs = cut(body)
    assert outline is body
    assert len(blobs) == 0


def test_the_same_picture_twice_is_two() -> None:
    """Each has a mark of its own, and both come back."""
    body = b'{"images":["%b","%b"]}' % (LONG, LONG)
    outline, blobs = cut(body)
    assert (len(blobs), outline.count(LEAD)) == (2, 2)
    assert b"".join(blobs.pieces(outline)) == body


def test_several_bodies_of_one_request_share_what_was_cut() -> None:
    """What was said before is read again with the request that goes on with it."""
    blobs = Blobs(NONCE)
    first = last(blobs.outlining(b'[{"data":"%b"}]' % LONG))[0]
    second = last(blobs.outlining(b'[{"data":"%b"}]' % (b"B" * 70_000)))[0]
    assert b"".join(blobs.pieces(second + first)) == b'[{"data":"%b"}][{"data":"%b"}]' % (
        b"B" * 70_000,
        LONG,
    )


def test_letters_of_another_request_are_no_mark() -> None:
    """A client that has guessed the form has not guessed the number."""
    text = b"%b00000000" % bytes(range(1, 17)).hex().encode()
    body = b'{"text":"%b","url":"%b"}' % (text, URL)
    outline, blobs = cut(body)
    assert text in outline
    assert b"".join(blobs.pieces(outline)) == body


def test_no_step_looks_at_more_than_a_piece() -> None:
    """The quotes are found in one step, 512 kB are proved in each of the others."""
    letters = b"A" * (10 * PIECE)
    body = b'{"url":"data:image/png;base64,%b"}' % letters
    outline, steps = last(Blobs(NONCE).outlining(body))
    assert (len(outline), steps) == (328, 11)


def test_no_piece_that_is_sent_is_larger_than_512_kb() -> None:
    """Neither of what was cut nor of what was left, and none is empty."""
    body = b'{"text":"%b","url":"data:image/png;base64,%b"}' % (b" " * 600_000, b"A" * 600_000)
    outline, blobs = cut(body)
    sizes = [len(piece) for piece in blobs.pieces(outline)]
    assert (max(sizes), min(sizes) > 0, sum(sizes)) == (524_288, True, len(body))
    assert last(blobs.gathering(outline)) == (body, len(sizes))


PLAIN = st.text(max_size=40)
LARGE = st.builds(
    lambda lead, letter, more: lead + letter * (65_536 + more),
    st.sampled_from(["", "data:image/png;base64,", "data:,", "x y", '"', "\\", "\n"]),
    st.sampled_from('Aa0+/=-_ "\\\n絵'),
    st.integers(0, 9),
)
NAMES = st.sampled_from(["url", "data", "images", "image_url", "text", "content", "a\\", 'a"'])
VALUES = st.recursive(
    PLAIN | LARGE | st.integers() | st.none(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(VALUES, st.sampled_from([None, 1]), st.booleans())
def test_any_json_comes_back_and_its_outline_is_json(
    value: object, indent: int | None, plain: bool
) -> None:
    """Of the same shape, with no string longer than what may not be cut."""
    body = json.dumps(value, indent=indent, ensure_ascii=plain).encode()
    outline, blobs = cut(body)
    assert b"".join(blobs.pieces(outline)) == body
    assert _shape(msgspec.json.decode(outline)) == _shape(value)


def _shape(value: object) -> object:
    """What is left of a value when a string is its first 200 characters."""
    if isinstance(value, str):
        return value[:200]
    if isinstance(value, list):
        return [_shape(each) for each in value]
    if isinstance(value, dict):
        return {name: _shape(each) for name, each in value.items()}
    return value


@settings(max_examples=150, deadline=None)
@given(VALUES, st.integers(0, 300), st.sampled_from([b'"', b"\\", b",", b"}", b"\x01", b""]))
def test_what_is_no_json_has_no_outline_that_is(value: object, place: int, byte: bytes) -> None:
    """A body with one byte more, or cut off, is refused with its picture or without."""
    whole = json.dumps({"messages": value}).encode()
    broken = whole[:place] + byte + (whole[place:] if byte else b"")
    outline, blobs = cut(broken)
    assert b"".join(blobs.pieces(outline)) == broken
    assert _is_json(outline) == _is_json(broken)


def _is_json(body: bytes) -> bool:
    try:
        msgspec.json.decode(body)
    except msgspec.DecodeError:
        return False
    return True
