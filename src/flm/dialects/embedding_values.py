"""Embeddings as numbers and as base64 of little-endian float32, and the way between."""

from __future__ import annotations

import base64
import binascii
import struct

import msgspec

from flm.dialects.engine_errors import bad_answer

_encode = msgspec.json.Encoder().encode
_decode_numbers = msgspec.json.Decoder(list[float]).decode
_decode_text = msgspec.json.Decoder(str).decode


def as_base64(numbers: msgspec.Raw) -> msgspec.Raw:
    """A JSON array of numbers as a JSON string. Raises `EngineError` when it is none."""
    try:
        values = _decode_numbers(numbers)
        packed = struct.pack(f"<{len(values)}f", *values)
    except (msgspec.DecodeError, struct.error, OverflowError) as error:
        raise bad_answer("an embedding is no list of numbers") from error
    return msgspec.Raw(b'"' + base64.b64encode(packed) + b'"')


def as_numbers(text: msgspec.Raw) -> msgspec.Raw:
    """A JSON string of base64 as a JSON array. Raises `EngineError` when it is none."""
    try:
        packed = base64.b64decode(_decode_text(text), validate=True)
        values = struct.unpack(f"<{len(packed) // 4}f", packed)
    except (msgspec.DecodeError, binascii.Error, ValueError, struct.error) as error:
        raise bad_answer("an embedding is no base64 of numbers") from error
    return msgspec.Raw(_encode(values))
