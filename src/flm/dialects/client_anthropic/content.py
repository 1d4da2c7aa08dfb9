"""Content blocks of Anthropic's Messages as texts and as parts of OpenAI's chat."""

from __future__ import annotations

import re

import msgspec

from flm.dialects.body import UNREADABLE, first_byte
from flm.dialects.client_anthropic.form import Block, Source
from flm.dialects.client_anthropic.notes import Notes
from flm.dialects.fields import shown, wrong_value
from flm.dialects.media import check_part, remote_image
from flm.errors import Refusal

Raw = msgspec.Raw

_MEDIA_TYPE = re.compile(r"image/[A-Za-z0-9.+-]{1,64}")
_decode_blocks = msgspec.json.Decoder(list[Block]).decode
_decode_text = msgspec.json.Decoder(str).decode
_decode_source = msgspec.json.Decoder(Source).decode

HOSTED = frozenset(
    {
        "server_tool_use", "web_search_tool_result", "web_fetch_tool_result",
        "code_execution_tool_result", "bash_code_execution_tool_result",
        "text_editor_code_execution_tool_result", "tool_search_tool_result",
        "advisor_tool_result", "mcp_tool_use", "mcp_tool_result", "mcp_tool_listing",
        "tool_addition", "tool_removal", "fallback", "redacted_thinking",
    }
)  # fmt: skip
"""Blocks that record what Anthropic's servers did, mostly encrypted for them: dropped and named."""


class TextPart(msgspec.Struct, gc=False):
    """Text among the parts of a message."""

    text: str
    type: str = "text"


class ImageUrl(msgspec.Struct, gc=False):
    """A `data:` URL as JSON; the picture inside was never decoded."""

    url: Raw


class ImagePart(msgspec.Struct, gc=False):
    """A picture among the parts of a message."""

    image_url: ImageUrl
    type: str = "image_url"


Part = TextPart | ImagePart


def inner_blocks(raw: Raw, where: str) -> list[Block]:
    """The blocks inside `content`, whether it is a string, a list, or absent.

    Raises `Refusal` 400 `invalid_value` for anything else.
    """
    if first_byte(raw) == b'"':
        return [Block(type="text", text=_decode_text(raw))]
    if bytes(memoryview(raw)[:4]) in (b"", b"null"):
        return []
    try:
        return _decode_blocks(raw)
    except msgspec.ValidationError as error:
        raise wrong_value(error, where) from error


def parts_of(block: Block, where: str, notes: Notes) -> list[Part]:
    """A block a person or a tool can send, as parts; [] for what is dropped and named.

    Raises `Refusal` 400: `unsupported_modalities`, `unsupported_image_url`,
    `unsupported_parameter` for a block nobody knows, `invalid_value`.
    """
    kind = block.type
    if kind == "text":
        return [TextPart(required(block.text, f"{where}.text"))]
    if kind == "image":
        notes.images = True
        return [_image(block, f"{where}.source", notes)]
    notes.plain = False
    if kind == "document":
        return _document(block, f"{where}.source", notes)
    if kind == "search_result":
        return [_search_result(block, where, notes)]
    if kind == "tool_reference":
        return [TextPart(f"Tool: {required(block.tool_name, f'{where}.tool_name')}")]
    if kind == "browser_state":
        notes.drop(kind)
        return []
    if kind == "compaction":
        return [TextPart(_text_of(block.content))] if first_byte(block.content) == b'"' else []
    if kind in HOSTED:
        notes.drop(kind)
        return []
    raise Refusal(
        400,
        "unsupported_parameter",
        f"FLM knows no content block of type '{shown(kind)}'.",
        param=f"{where}.type",
    )


def required(value: str | None, param: str) -> str:
    """`value`, which must be there. Raises `Refusal` 400 `missing_required_parameter`."""
    if value is None:
        raise Refusal(
            400,
            "missing_required_parameter",
            f"Missing required parameter: '{param}'.",
            param=param,
        )
    return value


def _image(block: Block, where: str, notes: Notes) -> ImagePart:
    source = _source(block.source, where)
    if source.type == "base64":
        if _MEDIA_TYPE.fullmatch(source.media_type or "") is None:
            raise _wrong(f"{where}.media_type", "expected image/png, image/jpeg or the like")
        if first_byte(source.data) != b'"':
            raise _wrong(f"{where}.data", "expected a string of base64")
        head = f'"data:{source.media_type};base64,'.encode()
        data = b"".join((head, memoryview(source.data)[1:]))  # the one copy of a large picture
        return ImagePart(ImageUrl(Raw(data)))
    if source.type == "url":
        notes.plain = False
        url = ImageUrl(Raw(msgspec.json.encode(_decode_url(block.source, where))))
        as_part = {"type": Raw(b'"image_url"'), "image_url": Raw(msgspec.json.encode(url))}
        if notes.remote and remote_image(as_part) is not None:
            notes.remote_media = True
        else:
            # Judged as all pictures are, and refused with its place in this dialect.
            check_part({"type": Raw(b'"image"'), "source": block.source}, where.rpartition(".")[0])
        return ImagePart(url)
    raise _unsupported(f"{where}.type", f"images of source '{shown(source.type)}'")


class _Url(msgspec.Struct, gc=False):
    url: str


_decode_with_url = msgspec.json.Decoder(_Url).decode


def _decode_url(raw: Raw, where: str) -> str:
    try:
        return _decode_with_url(raw).url
    except msgspec.ValidationError as error:
        raise wrong_value(error, where) from error


def _source(raw: Raw, where: str) -> Source:
    if not bytes(memoryview(raw)[:1]):
        raise _wrong(where, "expected an object")
    try:
        return _decode_source(raw)
    except msgspec.ValidationError as error:
        raise wrong_value(error, where) from error


def _document(block: Block, where: str, notes: Notes) -> list[Part]:
    source = _source(block.source, where)
    about = [each for each in (block.title, block.context) if each]
    if source.type == "text":
        if first_byte(source.data) != b'"':
            raise _wrong(f"{where}.data", "expected a string")
        return [TextPart("\n".join([*about, _text_of(source.data)]))]
    if source.type == "content":
        found: list[Part] = [TextPart("\n".join(about))] if about else []
        for index, inner in enumerate(inner_blocks(source.content, f"{where}.content")):
            found += parts_of(inner, f"{where}.content[{index}]", notes)
        return found
    what = "PDF documents" if source.type == "base64" else f"documents of source '{source.type}'"
    raise _unsupported(f"{where}.type", shown_text(what))


def shown_text(text: str) -> str:
    """`text` as it may stand in a message: short, and on one line."""
    return " ".join(text[:100].split())


def _search_result(block: Block, where: str, notes: Notes) -> TextPart:
    lines = [block.title or ""]
    if first_byte(block.source) == b'"':
        lines.append(_text_of(block.source))
    for index, inner in enumerate(inner_blocks(block.content, f"{where}.content")):
        for part in parts_of(inner, f"{where}.content[{index}]", notes):
            lines += [part.text] if isinstance(part, TextPart) else []
    return TextPart("\n".join(line for line in lines if line))


def _text_of(raw: Raw) -> str:
    try:
        return _decode_text(raw)
    except UNREADABLE as error:
        raise _wrong("messages", "a string in it cannot be read") from error


def _wrong(param: str, why: str) -> Refusal:
    return Refusal(400, "invalid_value", f"Invalid value for '{param}': {why}.", param=param)


def _unsupported(param: str, what: str) -> Refusal:
    return Refusal(
        400,
        "unsupported_modalities",
        f"FLM cannot give {what} to an engine. Send text, or images in base64.",
        param=param,
    )
