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
    ],
)
def test_the_older_is_older_and_not_the_other_way_round(older: str, newer: str) -> None:
    """Nor is anything older than itself."""
    assert is_older(older, newer)
    assert not is_older(newer, older)
    assert not is_older(older, older)
