"""A whole answer, with calls of custom tools as the client knows them."""

from __future__ import annotations

import msgspec

from flm.dialects.body import UNREADABLE
from flm.dialects.client_openai.calls import Piece, whole_call
from flm.dialects.toolbox import Toolbox

Raw = msgspec.Raw
Fields = dict[str, Raw]
_encode = msgspec.json.Encoder().encode
_decode_fields = msgspec.json.Decoder(Fields).decode
_decode_choices = msgspec.json.Decoder(list[Fields]).decode
_decode_calls = msgspec.json.Decoder(list[Raw]).decode
_decode_piece = msgspec.json.Decoder(Piece).decode


def whole_answer(body: bytes, tools: Toolbox, seed: str) -> bytes:
    """`body`, a `chat.completion`; what says nothing of such calls stays as it is.

    `seed` is in the ids of calls to which the engine gave none.
    """
    if body.find(b'"tool_calls"') < 0:
        return body
    try:
        return _turned(body, tools, seed)
    except UNREADABLE:
        return body  # nothing that any client could read as calls


def _turned(body: bytes, tools: Toolbox, seed: str) -> bytes:
    fields = _decode_fields(body)
    choices = _decode_choices(fields.get("choices", b"[]"))
    changed = 0
    for choice in choices:
        message = _decode_fields(choice.get("message", b"{}"))
        raw = message.get("tool_calls", b"null")
        calls = [] if bytes(raw) == b"null" else _decode_calls(raw)
        customs = 0
        for index, each in enumerate(calls):
            piece = _decode_piece(each)
            name = None if piece.function is None else piece.function.name
            source = None if name is None else tools.source(name)
            if source is not None and source.kind == "custom":
                calls[index] = whole_call(piece, source, f"call_{seed}_{changed + customs}")
                customs += 1
        if customs:
            message["tool_calls"] = Raw(_encode(calls))
            choice["message"] = Raw(_encode(message))
            changed += customs
    if not changed:
        return body
    fields["choices"] = Raw(_encode(choices))
    return _encode(fields)
