"""Frames of the channel and of the journal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flm.domain.records import JournalRecord
from flm.wire.channel import Ack, Framer, Hello, decode_to_controller, frame
from flm.wire.journal import pack, segment_name, unpack

RECORD = JournalRecord(
    id="req_1", time=1.0, key_id="k", model="モデル", engine="e", route="/v1/chat/completions",
    status=200, error="", latency_ms=1.5, first_token_ms=None, tokens_in=1, tokens_out=2,
    client="127.0.0.1", streamed=True,
)  # fmt: skip


@given(st.lists(st.integers(1, 40), max_size=30))
def test_frames_arrive_whole_however_they_are_cut(cuts: list[int]):
    """Hello and two acks, cut anywhere."""
    messages = [Hello("0.1.0", 7), Ack(1), Ack(2)]
    data = b"".join(frame(message) for message in messages)
    framer = Framer()
    payloads: list[bytes] = []
    for cut in cuts:
        piece, data = data[:cut], data[cut:]
        payloads += framer.feed(piece)
    payloads += framer.feed(data)
    assert [decode_to_controller(payload) for payload in payloads] == messages


def test_a_frame_without_measure_is_refused():
    """A length over 64 MiB is no frame of ours."""
    with pytest.raises(ValueError, match="4294967295"):
        Framer().feed(b"\xff\xff\xff\xff")


@given(st.integers(0, 200))
def test_a_torn_tail_ends_the_records(cut: int):
    """What is whole is read; how far, is told."""
    one = pack(RECORD)
    data = one + one
    cut = min(cut, len(one))
    records, upto = unpack(data[: len(data) - cut])
    assert len(records) == (2 if cut == 0 else 1)
    assert upto == len(one) * len(records)


def test_a_damaged_record_ends_the_records():
    """A checksum that does not hold is where the segment ends."""
    one = bytearray(pack(RECORD))
    one[-1] ^= 1
    assert unpack(pack(RECORD) + bytes(one)) == ([RECORD], len(one))
    assert unpack(b"\xff" * 20) == ([], 0)


def test_segments_sort_by_their_number():
    """As text too."""
    assert segment_name(9) < segment_name(10) < segment_name(100)
