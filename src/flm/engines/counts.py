"""Numbers of parameters as model makers write them."""

from __future__ import annotations

_STEPS = ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K"))


def parameters(count: int | None) -> str | None:
    """`8.0B`, `135M`, `128K`; None for none: two figures below ten, whole numbers above."""
    if count is None or count <= 0:
        return None
    for size, letter in _STEPS:
        if count >= size:
            amount = count / size
            return f"{amount:.1f}{letter}" if amount < 9.95 else f"{amount:.0f}{letter}"
    return str(count)
