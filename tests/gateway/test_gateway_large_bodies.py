"""Bodies of many megabytes: whole, in whatever pieces they come, and nothing of them left over."""

from __future__ import annotations

import msgspec
import pytest

from flm.dialects.body import check_depth
from flm.dialects.media import check_part
from flm.errors import Refusal
from flm.gateway.edge.reader import RequestReader
from support.raw_client import chat

LARGE = b'{"messages":"' + bytes(range(32, 34)) * 1_500_000 + b'"}'
PICTURE = b"data:image/png;base64," + b"iVBORw0KGgo" * 100


def test_a_body_that_comes_in_pieces_is_whole_and_the_next_request_is_read() -> None:
    """What is gathered is what was sent, and what comes behind it is a request of its own."""
    reader = RequestReader()
    reader.body_limit = 32 << 20
    head = b"POST /v1/x HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % len(LARGE)
    behind = chat()

    assert reader.head(head)
    view = memoryview(LARGE)
    for start in range(0, 2_900_000, 100_000):
        assert not reader.body(bytes(view[start : start + 100_000]))
        reader.gather()
    assert reader.body(bytes(view[2_900_000:]) + behind)
    assert reader.chunks != [LARGE]
    assert reader.payload() == LARGE
    assert reader.payload() == b""
    assert reader.next() == behind
    assert reader.head(behind)
    assert reader.complete
    assert behind.endswith(reader.payload())


def test_a_refused_body_is_not_held() -> None:
    """Nothing is left of what had come."""
    reader = RequestReader()
    reader.body_limit = 32 << 20
    assert reader.head(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4000000\r\n\r\n")
    assert not reader.body(bytes(2_000_000))
    reader.gather()
    assert not reader.body(bytes(1_000_000))

    reader.drop()

    assert reader.payload() == b""


def test_the_depth_of_a_large_body_is_judged() -> None:
    """Whether its brackets are few or many, and whether they stand in a text."""
    filler = b'"' + b"x" * 100_000 + b'"'

    check_depth(b"[" * 64 + filler + b"]" * 64)
    check_depth(b'["' + b"[{" * 1000 + b'",' + filler + b"]")
    with pytest.raises(Refusal, match="64 levels"):
        check_depth(b"[" * 40 + b'{"a":' * 25 + filler + b"}" * 25 + b"]" * 40)


@pytest.mark.parametrize(
    "picture",
    [
        b'{"url":"%b"}' % PICTURE,
        b'{"detail":"low", "url" : "%b"}' % PICTURE,
        b'{"url":"%b","text":"http://anywhere/%b"}' % (PICTURE, b"x" * 300),
    ],
)
def test_a_picture_in_an_object_passes(picture: bytes) -> None:
    """A `data:` URL, whatever stands beside it that nobody fetches."""
    part = msgspec.json.decode(
        b'{"type":"image_url","image_url":%b}' % picture, type=dict[str, msgspec.Raw]
    )

    assert check_part(part, "messages[0].content[0]")


@pytest.mark.parametrize(
    "picture",
    [
        b'{"url":"%b","url":"http://10.0.0.1/x"}' % PICTURE,
        b'{"url":"%b","fallback":"http://10.0.0.1/x"}' % PICTURE,
        b'{"url":"%b","more":[{"url":"file:///etc/passwd"}]}' % PICTURE,
        b'{"detail":"%b","url":"//10.0.0.1/x"}' % (b"x" * 300),
    ],
)
def test_a_url_beside_a_picture_is_found(picture: bytes) -> None:
    """Of a field that comes twice the last one counts, for the engine and for FLM."""
    part = msgspec.json.decode(
        b'{"type":"image_url","image_url":%b}' % picture, type=dict[str, msgspec.Raw]
    )

    with pytest.raises(Refusal, match="does not let engines fetch URLs"):
        check_part(part, "messages[0].content[0]")
