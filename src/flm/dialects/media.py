"""Images, audio and the like in a message: what came along, and that none is fetched.

A URL in a body makes the engine fetch it from inside the network (SSRF), so only `data:` URLs
pass. Text is never looked at.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from flm.errors import Refusal

Part = dict[str, msgspec.Raw]

_TEXT_KEYS = frozenset({"type", "text", "cache_control"})
_NO_TYPE = msgspec.Raw(b"null")
_MEDIA_KEY = re.compile(r"image|video|audio|file|media|picture", re.IGNORECASE)
_TEXT_TYPES = (b'"text"', b'"input_text"', b'"output_text"', b'"refusal"')
_decode = msgspec.json.Decoder().decode

# A scheme and a slash; `C:\x` and prose with a colon are none. Base64 holds no colon.
_FETCHED = re.compile(r"(?!data:)[a-z][a-z0-9+.-]{1,30}:/", re.IGNORECASE)
# Parsers of URLs skip these, in front of the scheme and inside it.
_SKIPPED = re.compile(r"[\x00-\x20]+")
_LOOKED_AT = 256
_DATA = re.compile(r"data:", re.IGNORECASE)
_URL_KEYS = ("url", "uri")


def check_part(part: Part, param: str) -> bool:
    """Whether `part` holds a picture; raises `Refusal` for what an engine would fetch.

    400 `unsupported_image_url` with the place in its ``param``; `param` is that of the part
    (`messages[2].content[0]`).
    """
    if part.keys() <= _TEXT_KEYS:
        return False
    text = bytes(part.get("type", _NO_TYPE)) in _TEXT_TYPES
    picture = False
    for key, raw in part.items():
        media = _MEDIA_KEY.search(key) is not None
        # Beside a text, citations and the like may hold URLs: nobody fetches them.
        if key in _TEXT_KEYS or (text and not media):
            continue
        picture = picture or "image" in key or "video" in key
        # The common case without a copy of the picture.
        if bytes(memoryview(raw)[:6]) != b'"data:':
            _check_value(key, _decode(raw), f"{param}.{key}")
    return picture


def _check_value(key: str, value: Any, param: str) -> None:
    # Bodies nest at most 64 levels deep (`body.check_depth`), and so does this.
    if isinstance(value, dict):
        for name, inner in value.items():
            if name not in ("text", "type"):
                _check_value(name, inner, f"{param}.{name}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _check_value(key, inner, f"{param}[{index}]")
    elif isinstance(value, str):
        named_url = key.lower().endswith(_URL_KEYS)
        head = _SKIPPED.sub("", value[:_LOOKED_AT])
        hidden = not head and len(value) > _LOOKED_AT
        if (named_url and not _DATA.match(value)) or _FETCHED.match(head) or hidden:
            raise _refusal(param)


def _refusal(param: str) -> Refusal:
    return Refusal(
        400,
        "unsupported_image_url",
        "FLM does not let engines fetch URLs. Send the picture itself as a data: URL, for example"
        " data:image/png;base64,iVBORw0….",
        param=param,
    )
