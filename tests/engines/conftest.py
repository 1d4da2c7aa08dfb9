"""Fixtures of the engines' tests."""

from __future__ import annotations

from tests.support.downloads import downloader, target, waiting, web  # noqa: F401 - fixtures
