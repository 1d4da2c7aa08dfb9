"""Versions of programs, compared as their makers count."""

from __future__ import annotations

import re

_VERSION = re.compile(r"[vV]?(\d{1,9}(?:\.\d{1,9})*)[.-]?(.*)", re.DOTALL)


def is_older(one: str, other: str) -> bool:
    """Whether `one` came before `other`: by numbers, and `1.2.3-rc4` before `1.2.3`.

    Python's way of writing (`1.2.3rc4`, `1.2.3.dev5`) means the same; what stands behind a `+`
    names a build. False where one of them is no version.
    """
    this, that = _order(one), _order(other)
    return this is not None and that is not None and this < that


def _order(version: str) -> tuple[tuple[int, ...], bool, tuple[int, ...]] | None:
    found = _VERSION.fullmatch(version.partition("+")[0].strip())
    if found is None:
        return None
    rest = "" if found[2].startswith("post") else found[2]
    numbers = list(_numbers(found[1]))
    while numbers and not numbers[-1]:
        del numbers[-1]
    return tuple(numbers), not rest, _numbers(rest)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d{1,9}", text))
