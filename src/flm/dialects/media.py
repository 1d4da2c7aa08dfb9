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
_TEXT_TYPES = (b'"text"', b'"input_text"', b'"output_text"', b'"refusal"')
_decode = msgspec.json.Decoder().decode

# A scheme and a slash; `C:\x` and prose with a colon are none. Base64 holds no colon.
_FETCHED = re.compile(r"\s*(?!data:)[a-z][a-z0-9+.-]+:/", re.IGNORECASE)
_DATA = re.compile(r"data:", re.IGNORECASE)
_URL_KEYS = ("url", "uri")


def is_text(part: Part) -> bool:
    """Whether `part` holds text and nothing that an engine could take for something else."""
    kind = part.get("type")
    return part.keys() <= _TEXT_KEYS and (kind is None or bytes(kind) in _TEXT_TYPES)


def check_part(part: Part, param: str) -> bool:
    """Whether `part` is an image or another picture; raises `Refusal` for what would be fetched.

    400 `unsupported_image_url`, with `param` (`messages[2].content[0]`) in it.
    """
    if is_text(part):
        return False
    for key, raw in part.items():
        if key in ("type", "text"):
            continue
        # The common case without a copy of the picture.
        if bytes(memoryview(raw)[:6]) != b'"data:':
            _check_value(key, _decode(raw), f"{param}.{key}")
    return any("image" in key or "video" in key for key in part) or b"image" in bytes(
        part.get("type", b"")
    )


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
        if (named_url and not _DATA.match(value)) or _FETCHED.match(value):
            raise _refusal(param)


def _refusal(param: str) -> Refusal:
    return Refusal(
        400,
        "unsupported_image_url",
        "FLM does not let engines fetch URLs. Send the picture itself as a data: URL, for example"
        " data:image/png;base64,iVBORw0….",
        param=param,
    )
