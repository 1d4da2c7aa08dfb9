"""The registry: one adapter of each kind, described truly, cheap to import."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import flm.engines
from flm.domain.engines import KINDS
from flm.engines.registry import adapters

ROOM = Path(flm.engines.__file__).parent
HEAVY = ("aiohttp", "gguf", "numpy", "xllamacpp", "psutil")


def table() -> dict[str, dict[str, str]]:
    """The rows of the README's table of adapters by kind."""
    lines = (ROOM / "README.md").read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "|" in line]
    head = next(number for number, row in enumerate(rows) if row[0] == "kind")
    names = rows[head]
    return {row[0]: dict(zip(names, row, strict=True)) for row in rows[head + 2 :]}


def ports(environment: dict[str, str]) -> dict[str, set[int]]:
    """The ports each adapter searches."""
    return {
        adapter.kind: {address.port for address in adapter.candidates(environment)}
        for adapter in adapters()
    }


def test_every_kind_has_exactly_one_adapter() -> None:
    """The registry and the domain's list of kinds are one list."""
    assert [adapter.kind for adapter in adapters()] == list(KINDS)


def test_the_readme_tells_each_adapters_dialect() -> None:
    """README.md's dialect column is what the code says."""
    told = {kind: row["dialect"] for kind, row in table().items()}
    assert told == {adapter.kind: adapter.dialect for adapter in adapters()}


def test_the_readme_tells_the_ports_that_are_searched() -> None:
    """README.md's ports are the candidates' ports of an empty environment."""
    told = {
        kind: {int(port) for port in re.findall(r"\b\d{4,5}\b", row["searched for at"])}
        for kind, row in table().items()
    }
    assert told == ports({})


def test_the_readme_tells_the_variables_that_are_read() -> None:
    """Each variable in README.md moves the search, and no other does."""
    told = {
        kind: set(re.findall(r"[A-Z_]{6,}", row["searched for at"]))
        for kind, row in table().items()
    }
    assert told == {
        "ollama": {"OLLAMA_HOST"},
        "llamacpp": {"LLAMA_CPP_PORT"},
        "custom": set(),
        "embedded": set(),
    }
    assert 4711 in ports({"OLLAMA_HOST": "127.0.0.1:4711"})["ollama"]
    assert 4712 in ports({"LLAMA_CPP_PORT": "4712"})["llamacpp"]


def test_the_readme_tells_which_engines_flm_starts() -> None:
    """An engine that FLM starts has a process.py, and no other has one."""
    told = {kind for kind, row in table().items() if row["started by FLM"] == "yes"}
    assert told == {path.parent.name for path in ROOM.glob("*/process.py")}


@pytest.mark.parametrize("kind", KINDS)
def test_each_package_has_the_same_files(kind: str) -> None:
    """Someone who has read one engine finds everything in the next."""
    names = {path.name for path in (ROOM / kind).iterdir()}
    assert {"__init__.py", "adapter.py", "detect.py", "models.py", "quirks.md"} <= names


def test_importing_the_registry_imports_nothing_heavy() -> None:
    """Start-up pays for no HTTP client, no numpy and no engine."""
    code = f"import sys, flm.engines.registry; print([m for m in {HEAVY} if m in sys.modules])"
    told = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, check=True)
    assert told.stdout.decode().strip() == "[]"
