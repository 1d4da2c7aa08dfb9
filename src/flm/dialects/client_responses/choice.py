"""`tool_choice` as the Responses API writes it."""

from __future__ import annotations

import msgspec

from flm.dialects.body import first_byte
from flm.dialects.fields import wrong_value
from flm.dialects.tool_choice import Choice, choose
from flm.dialects.toolbox import Toolbox

Raw = msgspec.Raw

_decode_text = msgspec.json.Decoder(str).decode
_decode_choice = msgspec.json.Decoder(Choice).decode


def choice_in(raw: Raw, tools: Toolbox) -> object | None:
    """See `tool_choice.choose`. None: the client said nothing."""
    if bytes(raw) in (b"", b"null"):
        return None
    if first_byte(raw) == b'"':
        return choose(_decode_text(raw), tools)
    try:
        choice = _decode_choice(raw)
    except msgspec.ValidationError as error:
        raise wrong_value(error, "tool_choice") from error
    return choose(choice, tools)
