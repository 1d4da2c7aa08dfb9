"""Reads the body of an OpenAI chat completion."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec

from flm.dialects.judging import judged
from flm.dialects.media import check_part, remote_image
from flm.dialects.openai_chat import KNOWN, ChatParams, ChatRequest, Message, Raw
from flm.domain.policy import Policy

_NO_OPTIONS: Final[Mapping[str, Any]] = MappingProxyType({})
_decode_params: Final = msgspec.json.Decoder(ChatParams).decode


def parse_chat(
    body: bytes, policy: Policy, *, remote: bool = False, fields: dict[str, Raw] | None = None
) -> ChatRequest:
    """The chat request in `body`. ``remote``: URLs of images may stay (``remote_media``);
    ``fields``: what `decode_object` made of `body`, where that was done before.

    Raises `Refusal` 400: `invalid_json`; `missing_required_parameter` and `invalid_value` with
    the field in ``param``; `dangerous_parameter`; `unknown_parameter` as the policy says;
    `unsupported_image_url`. What people wrote is never judged.
    """
    fields, params, dropped = judged(body, _decode_params, KNOWN, policy, fields)
    images, remote_media = _media(params.messages, remote)
    options = params.stream_options
    return ChatRequest(
        params.model,
        params.stream is True,
        options is not None and options.include_usage is True,
        images,
        bool(params.tools),
        fields,
        params,
        dropped,
        _NO_OPTIONS,
        remote_media,
    )


def _media(messages: list[Message], remote: bool) -> tuple[bool, bool]:
    """Whether there are images among the messages, and URLs of them; raises as `parse_chat`."""
    images = far = False
    for index, message in enumerate(messages):
        content = message.content
        if isinstance(content, list):
            for place, part in enumerate(content):
                where = f"messages[{index}].content[{place}]"
                images |= check_part(part, where, remote=remote)
                far = far or (remote and remote_image(part) is not None)
    return images, far
