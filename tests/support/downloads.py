"""What the tests of the downloader share: a server, a patience that takes no time, a target."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.web_server import WebServer, web_server

from flm.engines.download import Downloader
from flm.engines.web import Web
from flm.errors import FlmError
from flm.ports.clock import SystemClock
from flm.ports.engines import Step
from flm.ports.processes import current

CONTENT = bytes(range(256)) * 40


class Waiting:
    """Pauses that take no time, and remembers them."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


@pytest.fixture
def web() -> Iterator[WebServer]:
    """A server with one file."""
    with web_server(files={"/file.bin": CONTENT}) as server:
        yield server


@pytest.fixture
def waiting() -> Waiting:
    """How long was waited between the tries."""
    return Waiting()


@pytest.fixture
def downloader(waiting: Waiting) -> Downloader:
    """A downloader of this machine without proxies."""
    return Downloader(Web({}), current(None).lock, SystemClock(), pause=waiting)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Where the file shall be, in a folder that is not there yet."""
    return tmp_path / "folder" / "file.bin"


def nobody(step: Step) -> None:
    """Nobody looks."""


def sum_of(content: bytes) -> str:
    """The checksum in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


async def failing(
    downloader: Downloader, url: str, target: Path, sha256: str | None = None
) -> FlmError:
    """The error that a download ends with."""
    with pytest.raises(FlmError) as raised:
        await downloader.download(url, target, sha256=sha256, progress=nobody)
    return raised.value
