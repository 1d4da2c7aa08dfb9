"""How the house is built, held: sizes, names, borders, and what may stand in a tracked file."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "flm"

FORBIDDEN_IN_THE_GATEWAY = {
    *("sqlalchemy", "alembic", "sqlite3"),
    *("click", "rich", "aiohttp", "cryptography", "psutil"),
}

VAGUE_NAMES = {
    "utils",
    "util",
    "helpers",
    "helper",
    "manager",
    "managers",
    "base2",
    "common",
    "misc",
}

UNFINISHED = re.compile(
    r"\b(?:TO" + r"DO|FIX" + r"ME|HA" + r"CK)\b|raise NotImplemented" + r"Error"
)

MACHINE = re.compile(
    r"/(?:root|work)/(?!\.ollama\b)[\w.]|/opt/(?:wheels|pypi)|/home/(?!user\b|me\b|you\b|linuxbrew\b)\w|(?<![\w.])C:\\Users\\(?!you\b)\w"
)
"""Folders of the machine a file was written on, but examples and what engines say of theirs."""

REGISTRY = re.compile(
    r"(?:files\.pythonhosted|pypi|registry\.npmjs|proxy\.golang|deb\.debian|index\.crates)\.(?:org|io)\b"
)
"""Hosts of package registries: lock files and docs work with any mirror."""


def tracked() -> list[Path]:
    """Every text file that is in the repository."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True
    ).stdout.split("\0")
    files = [ROOT / name for name in listed if name]
    return [path for path in files if path.is_file() and b"\0" not in path.read_bytes()[:4096]]


def python_files(*folders: str) -> list[Path]:
    """The Python files in these folders of the repository."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def matches(paths: list[Path], pattern: re.Pattern[str]) -> list[str]:
    """`file:line: text` of every line that holds the pattern."""
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for path in paths
        for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), 1)
        if pattern.search(line)
    ]


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function of a file, methods included."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_no_python_file_is_longer_than_600_lines() -> None:
    """300 lines ask to be two files; 600 are the end."""
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text("utf-8").splitlines())
        for path in python_files("src", "tests", "bench")
    }
    assert {path: length for path, length in lengths.items() if length > 600} == {}


def test_nine_of_ten_functions_have_at_most_40_lines() -> None:
    """A function is read at one glance; the exceptions stay exceptions."""
    sizes = [
        (node.end_lineno or node.lineno) - node.lineno + 1
        for path in python_files("src")
        for node in functions(path)
    ]
    long = sum(size > 40 for size in sizes)
    assert long <= len(sizes) / 10


def test_every_module_says_what_it_is_for() -> None:
    """A module without a docstring is a drawer without a label."""
    silent = [
        str(path.relative_to(ROOT))
        for path in python_files("src", "tests", "bench")
        if path.read_text("utf-8").strip()
        and not ast.get_docstring(ast.parse(path.read_text("utf-8")))
    ]
    assert silent == []


def test_every_test_says_what_it_holds() -> None:
    """A test's docstring is the sentence that breaks when the test does."""
    silent = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in python_files("tests")
        for node in functions(path)
        if node.name.startswith("test_") and not ast.get_docstring(node)
    ]
    assert silent == []


def test_no_module_has_a_vague_name() -> None:
    """A module is named by the noun its user would say."""
    vague = [
        str(path.relative_to(ROOT))
        for path in python_files("src", "tests", "bench")
        if path.stem in VAGUE_NAMES or path.parent.name in VAGUE_NAMES
    ]
    assert vague == []


def test_nothing_is_left_unfinished() -> None:
    """What is not there yet is an issue, not a comment."""
    assert matches(python_files("src", "tests", "bench", "scripts"), UNFINISHED) == []


def test_no_tracked_file_names_a_folder_of_somebodys_machine() -> None:
    """The repository works wherever it lies."""
    assert matches(tracked(), MACHINE) == []


def test_no_tracked_file_names_the_host_of_a_registry() -> None:
    """Lock files carry hashes and no index, so that any mirror serves them."""
    assert matches(tracked(), REGISTRY) == []


def test_the_rooms_import_one_way() -> None:
    """import-linter's contracts in pyproject.toml hold."""
    linter = Path(sys.executable).with_name("lint-imports")
    run = subprocess.run(
        [linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_process_that_strangers_talk_to_carries_no_database_and_no_admin_code() -> None:
    """The gateway's modules, all of them imported, bring none of what it must not hold."""
    modules = [
        ".".join(path.relative_to(ROOT / "src").with_suffix("").parts).removesuffix(".__init__")
        for path in sorted((PACKAGE / "gateway").rglob("*.py"))
    ]
    code = (
        "import importlib, json, sys\n"
        "for name in json.loads(sys.argv[1]): importlib.import_module(name)\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))\n"
    )
    run = subprocess.run(
        [sys.executable, "-P", "-c", code, json.dumps(modules)],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": ""},
    )
    assert FORBIDDEN_IN_THE_GATEWAY & set(json.loads(run.stdout)) == set()


@pytest.mark.parametrize(
    "lock", ["runtime.txt", "dev.txt", "build.txt", "compile.txt", "uv.txt", "sglang-router.txt"]
)
def test_a_lock_file_pins_every_package_with_hashes(lock: str) -> None:
    """What is installed is what was looked at, byte for byte."""
    text = (ROOT / "requirements" / lock).read_text("utf-8")
    entries = re.split(r"\n(?=[a-zA-Z0-9])", text.strip())
    assert [
        entry for entry in entries if not re.match(r"\S+==\S+ [^\n]*\\\n    --hash=sha256:", entry)
    ] == []


def test_the_development_lock_holds_the_runtime_lock() -> None:
    """Tests run against the versions that users get."""
    pins = re.compile(r"^\S+==\S+", re.MULTILINE)
    runtime = set(pins.findall((ROOT / "requirements" / "runtime.txt").read_text("utf-8")))
    dev = set(pins.findall((ROOT / "requirements" / "dev.txt").read_text("utf-8")))
    assert runtime - dev == set()
