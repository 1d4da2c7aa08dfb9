"""Names of models: files, resolution, the nearest ones."""

from __future__ import annotations

import pytest

from flm.domain.engines import EngineId
from flm.domain.models import Model, name_of_file, nearest, resolve

HOMES = {"m": ("a/m", "b/m"), "Qwen/Qwen3-8B": ("a/Qwen/Qwen3-8B",), "t:latest": ("o/t:latest",)}
TARGETS = {"a/m", "b/m", "a/Qwen/Qwen3-8B", "o/t:latest"}


@pytest.mark.parametrize(
    ("name", "targets"),
    [
        ("m", ("a/m", "b/m")),
        ("b/m", ("b/m",)),
        ("flm://b/m", ("b/m",)),
        ("Qwen/Qwen3-8B", ("a/Qwen/Qwen3-8B",)),
        ("a/Qwen/Qwen3-8B", ("a/Qwen/Qwen3-8B",)),
        ("t", ("o/t:latest",)),
        ("o/t", ("o/t:latest",)),
        ("flm://o/t", ("o/t:latest",)),
        ("c/m", ()),
        ("flm://m", ()),
        ("", ()),
        ("M", ()),
    ],
)
def test_a_name_finds_its_homes(name: str, targets: tuple[str, ...]):
    """Exact name, then engine/name, then flm://engine/name; Ollama's `:latest` may be left out."""
    assert resolve(name, HOMES, TARGETS) == targets


def test_an_exact_name_goes_before_an_engine_of_that_name():
    """A model called `a/m` is itself, not model `m` of engine `a`."""
    assert resolve("a/m", {"a/m": ("z/a/m",)}, {"a/m", "z/a/m"}) == ("z/a/m",)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/models/tiny.gguf", "tiny"),
        ("C:\\models\\Tiny.GGUF", "Tiny"),
        ("tiny.gguf", "tiny"),
        ("Qwen/Qwen3-8B", "Qwen/Qwen3-8B"),
        ("llama3:8b", "llama3:8b"),
    ],
)
def test_a_files_path_becomes_the_files_name(path: str, name: str):
    """The path is nobody's business; a repository's name keeps its slash."""
    assert name_of_file(path) == name


def test_the_nearest_names_come_best_first():
    """Case and a typing error are forgiven."""
    assert nearest("LLAMA3", ["llama3", "llama3:8b", "gpt-oss"])[0] == "llama3"
    assert nearest("zzz", ["llama3"]) == ()


def test_a_target_is_engine_and_name():
    """An engine's id holds no slash, so the first one separates."""
    assert Model(name="Qwen/Qwen3-8B", engine=EngineId("vllm")).target == "vllm/Qwen/Qwen3-8B"
