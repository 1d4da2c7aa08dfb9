"""Bodies that go between client and engine as they are, but for the model's name."""

from __future__ import annotations

import msgspec

from flm.dialects.body import UNREADABLE
from flm.dialects.engine_errors import bad_answer, explain
from flm.wire.snapshot import Target

Raw = msgspec.Raw
Fields = dict[str, Raw]

_encode = msgspec.json.Encoder().encode
_decode_fields = msgspec.json.Decoder(Fields).decode

_MODEL = b'"model"'
_NOTHING = (b"null", b"false", b'""', b"{}")


def for_engine(fields: Fields, name: str, target: Target) -> Fields:
    """A request's fields with the engine's name for the model, which the client called `name`.

    To be encoded again even when they are unchanged: that is what collapses duplicates.
    """
    return fields if name == target.model else {**fields, "model": Raw(_encode(target.model))}


def answer_fields(body: bytes, target: Target) -> Fields:
    """The fields of a whole answer (status 200). Raises `EngineError` when it is an error."""
    try:
        fields = _decode_fields(body)
    except UNREADABLE as error:
        raise bad_answer("it is not a JSON object") from error
    error_field = fields.get("error")
    if error_field is not None and bytes(error_field) not in _NOTHING:
        raise explain(200, {}, body, target)
    return fields


def renamed(fields: Fields, name: str, body: bytes) -> bytes:
    """`fields` as JSON with the client's model name: `body` itself where that holds already."""
    wanted = _encode(name)
    if body and "model" in fields and bytes(fields["model"]) == wanted:
        return body
    fields["model"] = Raw(wanted)
    return _encode(fields)


def respelled(body: bytes, was: str, name: str) -> bytes:
    """The JSON object `body`, whose field `model` is `was`, with `name` in its place; b"" where
    that field cannot be found without a parser.

    A quote inside a string has a backslash before it, so that the one `"model"` there is, with a
    colon behind it, is the field.
    """
    at = body.find(_MODEL) + len(_MODEL)
    if at < len(_MODEL) or body.find(_MODEL, at) >= 0:
        return b""
    value = _encode(was)
    for colon in (b":", b": "):
        if body.startswith(colon + value, at):
            behind = at + len(colon) + len(value)
            return b"%b:%b%b" % (body[:at], _encode(name), body[behind:])
    return b""
