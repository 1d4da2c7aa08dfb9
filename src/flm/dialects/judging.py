"""How the body of every request in JSON is read: its fields, its names, its values."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec

from flm.dialects.body import decode_object, invalid_json
from flm.dialects.fields import judge_names, wrong_value
from flm.domain.policy import Policy

Params = TypeVar("Params")
Fields = dict[str, msgspec.Raw]


def judged(
    body: bytes,
    decode: Callable[[bytes], Params],
    known: frozenset[str],
    policy: Policy,
    fields: Fields | None = None,
) -> tuple[Fields, Params, tuple[str, ...]]:
    """Every top-level field of `body` as it came, the `known` ones decoded, and the names of those
    that the policy drops, which are among the fields no more. ``fields``: what `decode_object`
    made of `body`, where that was done before.

    Raises `Refusal` 400: `invalid_json`; `missing_required_parameter` and `invalid_value` with
    the field in ``param``; `dangerous_parameter`; `unknown_parameter` as the policy says.
    """
    if fields is None:
        fields = decode_object(body)
    dropped: tuple[str, ...] = ()
    if not known.issuperset(fields):
        dropped = judge_names(fields, fields.keys() - known, known, policy)
    try:
        params = decode(body)
    except msgspec.ValidationError as error:
        raise wrong_value(error) from error
    except msgspec.DecodeError as error:
        raise invalid_json(str(error)) from error
    return fields, params, dropped
