"""Cutting the events out of a stream's bytes."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flm.dialects.sse import cut, payload
from flm.errors import EngineError, StreamBroken

STREAM = "data: a\n\nevent: x\r\ndata: 東\r\n\r\n: ping\n\r\ndata: b\ndata: c\n\n".encode()
EVENTS = [
    b"data: a\n\n",
    "event: x\r\ndata: 東\r\n\r\n".encode(),
    b": ping\n\r\n",
    b"data: b\ndata: c\n\n",
]


class Heard:
    """Keeps what it is given, ends with `last`, and takes `bad` for an error."""

    def __init__(self, last: bytes = b"-", bad: bytes = b"-") -> None:
        self.finished = False
        self.events: list[bytes] = []
        self._last = last
        self._bad = bad

    def event(self, event: bytes) -> bytes:
        """See `sse.Events`."""
        if event == self._bad:
            raise EngineError(500, "bad", "bad")
        self.events.append(event)
        self.finished = event == self._last
        return event.upper()


@given(st.lists(st.integers(0, len(STREAM)), max_size=8))
def test_events_are_the_same_at_any_cut(cuts: list[int]) -> None:
    """Whichever line ends they have, and also between the two of a blank line."""
    heard, carry = Heard(), bytearray()
    edges = [0, *sorted(cuts), len(STREAM)]
    pieces = [STREAM[start:end] for start, end in itertools.pairwise(edges)]
    out = b"".join(cut(heard, carry, piece) for piece in pieces)
    assert heard.events == EVENTS
    assert (out, carry) == (STREAM.upper(), b"")


def test_what_is_not_whole_stays() -> None:
    """Until the rest of it has come."""
    heard, carry = Heard(), bytearray()
    assert cut(heard, carry, b"data: a\n\ndata: b") == b"DATA: A\n\n"
    assert carry == b"data: b"


def test_nothing_is_read_after_the_end() -> None:
    """Nor kept."""
    heard, carry = Heard(last=b"data: a\n\n"), bytearray()
    assert cut(heard, carry, b": hi\n\ndata: a\n\ndata: b\n\ndata") == b": HI\n\nDATA: A\n\n"
    assert (heard.events, carry) == ([b": hi\n\n", b"data: a\n\n"], b"")


@pytest.mark.parametrize(
    ("data", "before"), [(b"data: bad\n\n", b""), (b"data: a\n\ndata: bad\n\n", b"DATA: A\n\n")]
)
def test_an_error_has_what_came_before_it(data: bytes, before: bytes) -> None:
    """So that a client gets every word that was said."""
    with pytest.raises(EngineError) as caught:
        cut(Heard(bad=b"data: bad\n\n"), bytearray(), data)
    assert caught.value.before == before


def test_an_event_without_end_is_refused() -> None:
    """Beyond what one may hold; what came before it is not lost."""
    with pytest.raises(
        StreamBroken, match=r"^The engine sent an event of more than 2 MB\.$"
    ) as told:
        cut(Heard(), bytearray(), b"data: a\n\n" + bytes((2 << 20) + 1), largest=2 << 20)
    assert (told.value.code, told.value.before) == ("event_too_large", b"DATA: A\n\n")


def test_the_data_of_an_event() -> None:
    """Its lines joined, without the other fields, blanks and carriage returns around it."""
    assert payload(b'data: {"a":1}\n\n') == b'{"a":1}'
    assert payload(b"event: x\r\ndata:{\r\ndata: }\r\nid: 1\r\n\r\n") == b"{\n}"
    assert payload(b": ping\n\n") == b""
