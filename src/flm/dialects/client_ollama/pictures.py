"""`images` of Ollama's messages: base64 without a word about what it is."""

from __future__ import annotations

import base64
import binascii
import re

import msgspec

from flm.dialects.media import Part
from flm.errors import Refusal

Raw = msgspec.Raw

_LOOKED_AT = 64
_ESCAPE = re.compile(rb"\\")
_IMAGES = (
    (b"\x89PNG", "png"),
    (b"\xff\xd8\xff", "jpeg"),
    (b"GIF8", "gif"),
    (b"BM", "bmp"),
)
_SOUNDS = (
    (b"ID3", "mp3"),
    (b"\xff\xfb", "mp3"),
    (b"\xff\xf3", "mp3"),
    (b"\xff\xf2", "mp3"),
    (b"fLaC", "flac"),
    (b"OggS", "ogg"),
)
_decode_text = msgspec.json.Decoder(str).decode
_encode = msgspec.json.Encoder().encode


def media_part(raw: Raw, where: str) -> tuple[Part, bool]:
    """The JSON string `raw` as a part of an OpenAI message, and whether it is a picture.

    What the bytes are is told by how they begin; sound comes the same way. What is neither is
    said to be a PNG: engines look at the bytes, but want to be told that it is an image. Raises
    `Refusal` 400 `invalid_value` with `where` when it does not begin as base64.
    """
    # Views and one join: a picture of 10 MB is copied once.
    text = memoryview(raw)
    if bytes(text[:1]) != b'"':
        raise _refusal(where, "expected a string in base64")
    if _ESCAPE.search(text):  # `\/` of PHP, line breaks
        text = memoryview(_encode("".join(_decode_text(raw).split())))
    head = _head(bytes(text[1 : 1 + _LOOKED_AT]).partition(b'"')[0], where)
    sound = _sound(head)
    if sound is not None:
        audio = b"".join((b'{"data":', text, b',"format":"', sound.encode(), b'"}'))
        return {"type": Raw(b'"input_audio"'), "input_audio": Raw(audio)}, False
    url = (b'{"url":"data:image/', _image(head).encode(), b";base64,", text[1:], b"}")
    return {"type": Raw(b'"image_url"'), "image_url": Raw(b"".join(url))}, True


def _head(text: bytes, where: str) -> bytes:
    # Four characters are three bytes; what is left over is not looked at.
    try:
        return base64.b64decode(text[: len(text) // 4 * 4], validate=True)
    except binascii.Error as error:
        raise _refusal(where, "illegal base64 data") from error


def _image(head: bytes) -> str:
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "webp"
    return next((name for start, name in _IMAGES if head.startswith(start)), "png")


def _sound(head: bytes) -> str | None:
    if head.startswith(b"RIFF") and head[8:12] == b"WAVE":
        return "wav"
    return next((name for start, name in _SOUNDS if head.startswith(start)), None)


def _refusal(where: str, why: str) -> Refusal:
    return Refusal(400, "invalid_value", f"Invalid value for '{where}': {why}.", param=where)
