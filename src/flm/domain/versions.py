"""Versions of programs, compared as their makers count."""

from __future__ import annotations

import re


def is_older(one: str, other: str) -> bool:
    """Whether `one` came before `other`: by numbers, and `1.2.3-rc4` before `1.2.3`."""
    return _order(one) < _order(other)


def _order(version: str) -> tuple[tuple[int, ...], bool, tuple[int, ...]]:
    numbers, _, rest = version.partition("-")
    return _numbers(numbers), not rest, _numbers(rest)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d{1,9}", text))
