"""Running `flm` in this process, with a data directory of the test's own."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from flm.cli.entry import run


class Ran(NamedTuple):
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """The one JSON document on stdout."""
        document = json.loads(self.out)
        assert document["version"] == "1.0"
        return document["data"]

    @property
    def error(self) -> dict[str, str]:
        """The error on stderr, as a program reads it."""
        error: dict[str, str] = json.loads(self.err.splitlines()[-1])["error"]
        return error


Flm = Callable[..., Ran]


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """An empty data directory."""
    return tmp_path / "data"


@pytest.fixture
def flm(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> Flm:
    """Runs a command line in English unless told otherwise."""

    def call(*argv: str, environ: Mapping[str, str] | None = None) -> Ran:
        variables = {"FLM_DATA_DIR": str(data_dir), "LANG": "C.UTF-8", **(environ or {})}
        code = run(argv, variables, "flm")
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return call
