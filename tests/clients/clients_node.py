"""Clients that come from npm: installed once beside the checkout, in the versions of the lock."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent / "node"
PLACE = Path(__file__).parents[2] / ".clients"
"""Ignored by git; `make clean` removes it. Codex alone is 400 MB, so not every run gets its own."""

_FILES = ("package.json", "package-lock.json", ".npmrc")
_BEFORE: Mapping[str, str] = dict(os.environ)
"""What the tests were started with: npm reads its user's settings, which tests do not see."""

HINT = "node and npm are needed (Debian: apt-get install nodejs npm)"


def installed() -> Path:
    """The folder with `node_modules`. Skips where there is no npm."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip(HINT)
    PLACE.mkdir(exist_ok=True)
    digest = hashlib.sha256(b"".join((SOURCE / name).read_bytes() for name in _FILES)).hexdigest()
    folder = PLACE / digest[:16]
    with (PLACE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            _install(npm, folder)
        shutil.copy(SOURCE / "ask.mjs", folder)  # imports are looked up from where a script lies
    return folder


def _install(npm: str, folder: Path) -> None:
    for old in PLACE.iterdir():
        if old.is_dir():
            shutil.rmtree(old)
    folder.mkdir()
    for name in _FILES:
        shutil.copy(SOURCE / name, folder)
    done = subprocess.run(
        [npm, "ci", "--ignore-scripts"],
        cwd=folder,
        env=_BEFORE,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    (folder / "complete").touch()
