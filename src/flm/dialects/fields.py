"""Judging the fields of a request: wrong values, dangerous names, unknown names."""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from flm.domain.policy import DANGEROUS_FIELDS, Policy
from flm.errors import Refusal

_TEMPLATE_FIELDS = frozenset({"chat_template_kwargs", "chat_template"})

_SAID = re.compile(r"(?P<what>.*?)(?: - at `\$(?P<path>.*)`)?", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(\w+)`")
_TYPES = {
    "`str`": "a string",
    "`int`": "an integer",
    "`float`": "a number",
    "`bool`": "a boolean",
    "`array`": "an array",
    "`object`": "an object",
    "`null`": "null",
}
_UNSEEMLY = re.compile(r"[^A-Za-z0-9_.\[\]-]")
_TYPE = re.compile(r"`[^`]*`")


def wrong_value(error: msgspec.ValidationError, inside: str = "") -> Refusal:
    """What msgspec refused, as OpenAI says it: 400, with the field's name in ``param``.

    `inside` is the path of the value that was decoded: `messages[2]`; '' for the whole body.
    """
    said = _SAID.fullmatch(str(error))
    assert said is not None, "the pattern matches every text"
    # `[...]` is msgspec's word for a key of a dict.
    path = (inside + (said["path"] or "").replace("[...]", "")).lstrip(".")
    missing = _MISSING.fullmatch(said["what"])
    if missing:
        name = f"{path}.{missing[1]}" if path else missing[1]
        return Refusal(
            400, "missing_required_parameter", f"Missing required parameter: '{name}'.", param=name
        )
    what = _TYPE.sub(_type_name, said["what"])
    what = what[:1].lower() + what[1:]
    where = f" for '{path}'" if path else ""
    return Refusal(400, "invalid_value", f"Invalid value{where}: {what}.", param=path or None)


def _type_name(match: re.Match[str]) -> str:
    names = match[0].strip("`").split(" | ")
    words = [_TYPES.get(f"`{name}`", name) for name in names if name != "null" or len(names) == 1]
    return " or ".join(words)


def judge_names(
    fields: dict[str, msgspec.Raw], unknown: Iterable[str], known: frozenset[str], policy: Policy
) -> tuple[str, ...]:
    """Look at the fields outside the dialect's own; take those away that the policy drops.

    Returns the names that were dropped. Raises `Refusal`: 400 `dangerous_parameter`; 400
    `unknown_parameter` when the policy rejects them, or when one differs from a known name in
    case only (engines written in Go would read it as that one, behind the judge's back).
    """
    dropped = []
    for name in sorted(unknown):
        lowered = name.lower()
        if lowered in DANGEROUS_FIELDS:
            raise _dangerous(name, "it reaches into the engine or redirects the request")
        if lowered in _TEMPLATE_FIELDS and not policy.allow_chat_template_kwargs:
            raise _dangerous(
                name,
                "it is evaluated inside the engine; the policy's allow_chat_template_kwargs"
                " permits it",
            )
        if lowered in known:
            raise _unknown(name, f"did you mean '{lowered}'?")
        if policy.unknown_parameters == "reject":
            raise _unknown(name, "the policy rejects what it does not know (unknown_parameters).")
        if policy.unknown_parameters == "drop":
            del fields[name]
            dropped.append(shown(name))
    return tuple(dropped)


def shown(name: str) -> str:
    """A client's name for a field as it may stand in a header or a message."""
    return _UNSEEMLY.sub("?", name[:64])


def _dangerous(name: str, why: str) -> Refusal:
    name = shown(name)
    return Refusal(
        400, "dangerous_parameter", f"The parameter '{name}' is not allowed: {why}.", param=name
    )


def _unknown(name: str, why: str) -> Refusal:
    name = shown(name)
    return Refusal(400, "unknown_parameter", f"Unknown parameter '{name}': {why}", param=name)
