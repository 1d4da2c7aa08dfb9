"""Images, audio and the like in a message: what came along, and that no engine fetches any.

A URL in a body makes the engine fetch it from inside the network (SSRF), so only `data:` URLs
pass; those of images also where FLM itself fetches them first (`media.fetch`). Text is never
looked at.
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
_decode_fields = msgspec.json.Decoder(Part).decode

# A scheme and a slash; `C:\x` and prose with a colon are none. Base64 holds no colon.
_FETCHED = re.compile(r"(?!data:)[a-z][a-z0-9+.-]{1,30}:/", re.IGNORECASE)
# Parsers of URLs skip these, in front of the scheme and inside it.
_SKIPPED = re.compile(r"[\x00-\x20]+")
_LOOKED_AT = 256
_DATA = re.compile(r"data:", re.IGNORECASE)
_URL_KEYS = ("url", "uri")
_DATA_START = b'"data:'
_NEVER_FETCHED = ("text", "type")


_IMAGE_TYPE = b'"image_url"'
_REMOTE = re.compile(r"https?://[!-~]{1,2000}", re.IGNORECASE)


def remote_image(part: Part) -> str | None:
    """The http(s) URL in a part of type `image_url`, None where there is none.

    Whether it may be fetched is for who fetches it; it is one line of printable ASCII.
    """
    if bytes(part.get("type", _NO_TYPE)) != _IMAGE_TYPE or "image_url" not in part:
        return None
    raw = part["image_url"]
    if bytes(memoryview(raw)[:6]) == b'"data:':
        return None
    value = _decode(raw)
    url = value.get("url") if isinstance(value, dict) else value
    return url if isinstance(url, str) and _REMOTE.fullmatch(url) else None


def check_part(part: Part, param: str, *, remote: bool = False) -> bool:
    """Whether `part` holds a picture; raises `Refusal` for what an engine would fetch.

    400 `unsupported_image_url` with the place in its ``param``; `param` is that of the part
    (`messages[2].content[0]`). ``remote``: the URL that `remote_image` finds may stay.
    """
    if part.keys() <= _TEXT_KEYS:
        return False
    if remote and remote_image(part) is not None:
        check_part({key: raw for key, raw in part.items() if key != "image_url"}, param)
        return True
    text = bytes(part.get("type", _NO_TYPE)) in _TEXT_TYPES
    picture = False
    for key, raw in part.items():
        media = _MEDIA_KEY.search(key) is not None
        # Beside a text, citations and the like may hold URLs: nobody fetches them.
        if key in _TEXT_KEYS or (text and not media):
            continue
        picture = picture or "image" in key or "video" in key
        _check_raw(key, raw, f"{param}.{key}")
    return picture


def _check_raw(key: str, raw: msgspec.Raw, param: str) -> None:
    """`_check_value`; the common cases, a `data:` URL by itself or in an object, without a copy
    of the picture.
    """
    view = memoryview(raw)
    if bytes(view[:6]) == _DATA_START:
        return
    if bytes(view[:1]) == b"{" and len(view) > _LOOKED_AT:
        for name, inner in _decode_fields(raw).items():
            if name not in _NEVER_FETCHED and bytes(memoryview(inner)[:6]) != _DATA_START:
                _check_value(name, _decode(inner), f"{param}.{name}")
    else:
        _check_value(key, _decode(raw), param)


def _check_value(key: str, value: Any, param: str) -> None:
    # Bodies nest at most 64 levels deep (`body.check_depth`), and so does this.
    if isinstance(value, dict):
        for name, inner in value.items():
            if name not in _NEVER_FETCHED:
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
