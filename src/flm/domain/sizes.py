"""Numbers of bytes as people read them."""

from __future__ import annotations


def size_text(count: int) -> str:
    """`1.5 GB`, `312 MB`, `9 B`: powers of ten, as disks and downloads are sold."""
    amount = float(count)
    for unit in ("B", "kB", "MB"):
        if amount < 1_000:
            return f"{amount:.0f} {unit}"
        amount /= 1_000
    return f"{amount:.1f} GB"
