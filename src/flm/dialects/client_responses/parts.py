"""Parts of the content of items: text, pictures, sound, files."""

from __future__ import annotations

from typing import Any

import msgspec

from flm.dialects.fields import shown
from flm.dialects.media import check_part
from flm.errors import Refusal

Raw = msgspec.Raw
Content = str | list[dict[str, Any]]

_TEXTS = frozenset({"input_text", "output_text", "text", "summary_text", "reasoning_text"})
_encode = msgspec.json.Encoder().encode


class _Url(msgspec.Struct):
    url: str
    detail: str | None = None


class Part(msgspec.Struct):
    """A part of any kind; ``image_url`` is a text here, an object in chats."""

    type: str = "input_text"
    text: str = ""
    refusal: str = ""
    image_url: str | _Url | None = None
    detail: str | None = None
    file_id: str | None = None
    file_url: str | None = None
    file_data: str | None = None
    filename: str | None = None
    input_audio: dict[str, Raw] | None = None


def content_of(content: str | list[Part] | None, where: str, *, remote: bool = False) -> Content:
    """`content` as a message of a chat has it: one text where it is nothing but text.

    ``remote``: URLs of images may stay.

    Raises `Refusal` 400: `unsupported_image_url`, `unsupported_parameter` for files that lie
    elsewhere, `invalid_value` for parts of an unknown kind.
    """
    if not isinstance(content, list):
        return content or ""
    if all(part.type in _TEXTS for part in content):
        return "\n".join(part.text for part in content)
    return [_part(part, f"{where}[{index}]", remote) for index, part in enumerate(content)]


def text_of(content: str | list[Part] | None, where: str) -> str:
    """`content` where only text can stand; a refusal is text. Raises `Refusal` 400 otherwise."""
    if not isinstance(content, list):
        return content or ""
    for index, part in enumerate(content):
        if part.type not in _TEXTS and part.type != "refusal":
            raise Refusal(
                400,
                "unsupported_modalities",
                f"Only text can stand here, no '{shown(part.type)}'.",
                param=f"{where}[{index}].type",
            )
    return "\n".join(part.refusal or part.text for part in content)


def _part(part: Part, where: str, remote: bool) -> dict[str, Any]:
    if part.type in _TEXTS:
        return {"type": "text", "text": part.text}
    if part.type == "refusal":
        return {"type": "text", "text": part.refusal}
    if part.type in ("input_image", "image_url"):
        return _image(part, where, remote)
    if part.type == "input_audio" and part.input_audio is not None:
        return {"type": "input_audio", "input_audio": part.input_audio}
    if part.type == "input_file":
        return _file(part, where)
    raise Refusal(
        400,
        "invalid_value",
        f"Invalid value for '{where}.type': '{shown(part.type)}'.",
        param=f"{where}.type",
    )


def _image(part: Part, where: str, remote: bool) -> dict[str, Any]:
    given = part.image_url
    url = given.url if isinstance(given, _Url) else given
    detail = (given.detail if isinstance(given, _Url) else None) or part.detail
    if not url:
        raise _elsewhere("image", f"{where}.file_id" if part.file_id else f"{where}.image_url")
    named = {"type": Raw(b'"image_url"'), "image_url": Raw(_encode(url))}
    check_part(named, where, remote=remote)
    image: dict[str, Any] = {"url": url}
    if detail in ("auto", "low", "high"):
        image["detail"] = detail
    return {"type": "image_url", "image_url": image}


def _file(part: Part, where: str) -> dict[str, Any]:
    if not part.file_data:
        raise _elsewhere("file", f"{where}.file_id" if part.file_id else f"{where}.file_url")
    file = {"file_data": part.file_data}
    if part.filename:
        file["filename"] = part.filename
    return {"type": "file", "file": file}


def _elsewhere(what: str, where: str) -> Refusal:
    return Refusal(
        400,
        "unsupported_parameter",
        f"FLM keeps no uploaded files and fetches none: send the {what} itself, as a data: URL.",
        param=where,
    )
