"""`--var NAME=VALUE` and the like: pairs, given as often as there are any."""

from __future__ import annotations

from collections.abc import Iterable

from flm.errors import N_, InvalidValue


def pairs(flag: str, given: Iterable[str]) -> dict[str, str]:
    """The values by name. Raises `InvalidValue` for what is no pair, and for a name given twice."""
    found: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals or not name:
            raise InvalidValue(N_("{flag} takes NAME=VALUE, not {text!r}."), flag=flag, text=text)
        if name in found:
            raise InvalidValue(N_("{name} is given twice."), name=name)
        found[name] = value
    return found


def names(text: str) -> tuple[str, ...]:
    """Names with commas between them."""
    return tuple(name.strip() for name in text.split(",") if name.strip())
