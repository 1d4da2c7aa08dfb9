"""The registry: one adapter of each kind, described truly, cheap to import."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

import flm.engines
from flm.domain.engines import KINDS, EngineKind
from flm.domain.traits import APIS, Keeping
from flm.engines.registry import adapters
from flm.engines.table import rendered
from flm.ports.engines import EngineAdapter
from flm.wire.snapshot import EngineDialect
from support.machines import MadeUp

ROOM = Path(flm.engines.__file__).parent
README = ROOM / "README.md"
HEAVY = ("aiohttp", "gguf", "numpy", "xllamacpp", "psutil")

every_adapter = pytest.mark.parametrize("adapter", adapters(), ids=lambda adapter: adapter.kind)


def folder(kind: EngineKind) -> Path:
    """The package of that kind."""
    return ROOM / kind.replace("-", "_")


def searched() -> dict[str, str]:
    """What the README says of where each kind is searched for."""
    lines = README.read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "|" in line]
    head = next(number for number, row in enumerate(rows) if "searched for at" in row)
    return {row[0]: row[1] for row in rows[head + 2 : head + 2 + len(KINDS)]}


def ports(environment: dict[str, str]) -> dict[str, set[int]]:
    """The ports each adapter searches."""
    machine = MadeUp(environment=environment)
    return {
        adapter.kind: {address.port for address in adapter.places(machine)}
        for adapter in adapters()
    }


def test_every_kind_has_exactly_one_adapter() -> None:
    """The registry and the domain's list of kinds are one list."""
    assert [adapter.kind for adapter in adapters()] == list(KINDS)


def test_the_readme_tells_the_traits() -> None:
    """Its tables are what `python -m flm.engines.table` makes of the code."""
    told = README.read_text(encoding="utf-8")
    assert rendered(told) == told


def test_the_readme_tells_the_ports_that_are_searched() -> None:
    """README.md's ports are those of a machine on which nothing is set."""
    told = {kind: {int(port) for port in re.findall(r"\b\d{4,5}\b", where)}
            for kind, where in searched().items()}  # fmt: skip
    assert told == ports({})


def test_the_readme_tells_the_variables_that_are_read() -> None:
    """Each variable in README.md moves the search, and no other does."""
    told = {kind: set(re.findall(r"[A-Z_]{6,}", where)) for kind, where in searched().items()}
    assert told == {
        "ollama": {"OLLAMA_HOST"},
        "vllm": {"VLLM_HOST", "VLLM_PORT"},
        "lmstudio": {"LMSTUDIO_API_HOST"},
        "llamacpp": {"LLAMA_CPP_PORT"},
        "text-generation-webui": {"OPENEDAI_PORT"},
        "embedded": set(),
        "custom": set(),
    }
    assert 4711 in ports({"OLLAMA_HOST": "127.0.0.1:4711"})["ollama"]
    assert 4712 in ports({"LLAMA_CPP_PORT": "4712"})["llamacpp"]
    assert 4713 in ports({"VLLM_PORT": "4713"})["vllm"]
    assert 4714 in ports({"LMSTUDIO_API_HOST": "127.0.0.1:4714"})["lmstudio"]
    assert 4715 in ports({"OPENEDAI_PORT": "4715"})["text-generation-webui"]


@every_adapter
def test_traits_are_of_known_words(adapter: EngineAdapter) -> None:
    """APIs and what can be kept by their names, none twice, none both native and translated."""
    traits = adapter.traits
    spoken = (*traits.native, *traits.perhaps, *traits.translated)
    assert set(spoken) <= set(APIS)
    assert len(set(spoken)) == len(spoken)
    assert set(traits.keeping) <= set(get_args(Keeping))
    assert adapter.dialect in get_args(EngineDialect)
    assert all((traits.overload, traits.overflow, traits.broken_stream, traits.reasoning))


@every_adapter
def test_what_can_be_kept_has_a_keeper(adapter: EngineAdapter) -> None:
    """The embedded engine's models are FLM's own files: it keeps them itself."""
    kept = bool(adapter.traits.keeping) and adapter.kind != "embedded"
    assert (adapter.keeper is not None) is kept


@every_adapter
def test_what_is_started_has_a_way_to_start(adapter: EngineAdapter) -> None:
    """A `launch.py` and a starter go together."""
    assert (folder(adapter.kind) / "launch.py").is_file() is (adapter.starter is not None)


@pytest.mark.parametrize("kind", KINDS)
def test_each_package_has_the_same_files(kind: EngineKind) -> None:
    """Someone who has read one engine finds everything in the next."""
    names = {path.name for path in folder(kind).iterdir()}
    same = {"__init__.py", "adapter.py", "detect.py", "models.py", "traits.py", "quirks.md"}
    assert same <= names


def test_importing_the_registry_imports_nothing_heavy() -> None:
    """Start-up pays for no HTTP client, no numpy and no engine."""
    code = f"import sys, flm.engines.registry; print([m for m in {HEAVY} if m in sys.modules])"
    told = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, check=True)
    assert told.stdout.decode().strip() == "[]"
