"""The journal's format: `<data>/journal/<instance>/<n>.seg`.

A segment is a sequence of frames: 4 bytes of length, 4 bytes of CRC-32 (both big endian, both
of the payload), the payload: one `JournalRecord` as a msgpack array. A torn or damaged tail ends
the segment. The gateway that owns an instance folder holds a lock on `<instance>/lock` for life;
only closed segments (a higher one exists), or those whose lock is free, are removed or cut.
"""

from __future__ import annotations

import struct
import zlib
from typing import Final

import msgspec

from flm.domain.records import JournalRecord

SEGMENT_BYTES: Final = 8 << 20
"""A segment is closed when it has grown past this."""

MAX_RECORD: Final = 64 << 10
SUFFIX: Final = ".seg"
LOCK: Final = "lock"
_HEAD: Final = struct.Struct(">II")
_HEAD_BYTES: Final = _HEAD.size

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(JournalRecord).decode


def pack(record: JournalRecord) -> bytes:
    """One record as it is appended with one `write`."""
    payload = _encode(record)
    return _HEAD.pack(len(payload), zlib.crc32(payload)) + payload


def unpack(data: bytes) -> tuple[list[JournalRecord], int]:
    """The whole records at the start of `data`, and how many bytes they take.

    Stops before the first frame that is torn, damaged or longer than `MAX_RECORD`.
    """
    records: list[JournalRecord] = []
    position, size = 0, len(data)
    # Names of its own for what each of thousands of records needs: a tenth of what one costs.
    head, checked, decode, keep = _HEAD.unpack_from, zlib.crc32, _decode, records.append
    while (start := position + _HEAD_BYTES) <= size:
        length, checksum = head(data, position)
        end = start + length
        if length > MAX_RECORD or end > size:
            break
        payload = data[start:end]
        if checked(payload) != checksum:
            break
        try:
            keep(decode(payload))
        except msgspec.DecodeError:
            break
        position = end
    return records, position


def segment_name(number: int) -> str:
    """The file name of segment `number`; names sort as numbers do."""
    return f"{number:08d}{SUFFIX}"
