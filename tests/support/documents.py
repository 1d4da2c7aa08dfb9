"""What documents show, run as it stands: their blocks, a shell, and a started FLM."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from support.running_flm import started

PORT = "8356"
PATIENCE = 60


class Block(NamedTuple):
    """A fenced block: what it is of, and its text."""

    kind: str
    text: str


def blocks(readme: str) -> list[Block]:
    """The fenced blocks in order."""
    found = re.findall(r"^```([a-z ]+)\n(.*?)^```$", readme, flags=re.MULTILINE | re.DOTALL)
    return [Block(kind, text) for kind, text in found]


def run_in_shell(text: str, environ: Mapping[str, str], folder: Path | None = None) -> str:
    """What the lines print; each of them must go well."""
    done = subprocess.run(
        ["/bin/sh", "-euc", text],
        env=environ,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def variables(data: Path) -> dict[str, str]:
    """A user's variables, with `flm` on PATH and a data directory and port of the test's own."""
    scripts = str(Path(sys.executable).parent)
    own = {"FLM_DATA_DIR": str(data), "FLM_SERVER_PORT": "0"}
    return {**os.environ, **own, "PATH": f"{scripts}:{os.environ['PATH']}"}


@contextmanager
def demo(data: Path) -> Iterator[dict[str, str]]:
    """`flm up --demo`, and the variables of somebody who exported the key it showed."""
    pytest.importorskip("xllamacpp", reason="pip install 'flm-gateway[embedded]'")
    environ = variables(data)
    with started(
        ["flm", "up", "--demo", "--format", "json"],
        env=environ,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())["data"]
        port = told["base_url"].rsplit(":", 1)[1].removesuffix("/v1")
        yield {**environ, "FLM_API_KEY": told["api_key"], "TEST_PORT": port}
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
