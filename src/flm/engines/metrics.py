"""Reading what engines tell Prometheus: the samples of one metric, and no more."""

from __future__ import annotations

LIMIT = 1 << 20
"""How many bytes of `/metrics` are read."""


def samples(text: bytes, name: str) -> list[float]:
    """The values of all samples of the metric `name`, whatever their labels. [] when none.

    The text format of Prometheus: `name{labels} value [time]`, one to a line. What is no finite
    number is left out.
    """
    wanted = name.encode()
    found = []
    for line in text.splitlines():
        if not line.startswith(wanted):
            continue
        rest = line[len(wanted) :]
        if rest.startswith(b"{"):
            rest = rest.rpartition(b"}")[2]
        if rest.startswith((b" ", b"\t")):
            found += _number(rest)
    return found


def total(text: bytes, *names: str) -> float | None:
    """The sum over all samples of the first of these metrics that is there."""
    for name in names:
        if found := samples(text, name):
            return sum(found)
    return None


def count(text: bytes, *names: str) -> int | None:
    """The same as a whole number that is not negative."""
    value = total(text, *names)
    return None if value is None else max(0, round(value))


def _number(text: bytes) -> list[float]:
    try:
        value = float(text.split()[0])
    except (ValueError, IndexError):
        return []
    return [value] if abs(value) < float("inf") else []
