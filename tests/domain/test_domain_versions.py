"""Versions are compared as numbers, and candidates come before what they are candidates for."""

from __future__ import annotations

import pytest

from flm.domain.versions import is_older


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("0.9.9", "0.10.0"),
        ("0.33.0-rc2", "0.33.0"),
        ("0.33.0-rc2", "0.33.0-rc10"),
        ("0.33.0", "0.33.1-rc1"),
        ("1.0", "1.0.1"),
        ("v0.22.0rc1", "0.22.0"),
        ("0.22.0", "0.22.1.dev3+g1a2b3c4"),
        ("0.22.1.dev3+g1a2b3c4", "0.22.1"),
        ("0.21.9.post1", "0.22.0"),
    ],
)
def test_the_older_is_older_and_not_the_other_way_round(older: str, newer: str) -> None:
    """Nor is anything older than itself."""
    assert is_older(older, newer)
    assert not is_older(newer, older)
    assert not is_older(older, older)


@pytest.mark.parametrize(
    ("one", "other"),
    [("1.0", "1.0.0"), ("1.0+cpu", "1.0"), ("b9870", "0.1.0"), ("0.1.0", "b9870"), ("", "1.0")],
)
def test_neither_is_older(one: str, other: str) -> None:
    """They are the same, or one of them is no version."""
    assert not is_older(one, other)
    assert not is_older(other, one)
