"""The gateway's compiled modules: used when they match their sources, and never else."""

from __future__ import annotations

import ast
import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from flm import compiled
from flm.compiled import LIBRARY, MANIFEST, MODULES, PACKAGE, Manifest, file_of

PACKAGE_FOLDER = Path(compiled.__file__).parent

REVIEWED_SLICES = {
    "view[start:start + _PIECE]",
    "data[start:end]",
    "data[place:behind]",
    "credential[ID_START:ID_END]",
    "data[at + len(_LENGTH):line]",
    "data[line:end + 4]",
}
"""Slices of bytes with two bounds, of which the second is never the smaller one."""

USE = """
import json, sys
from flm import compiled
reason = compiled.use(json.loads(sys.argv[2]), [sys.argv[1]])
import flm.gateway.same_head as one, flm.gateway.process
same = one.SameHead.of(b"POST / HTTP/1.1\\r\\ncontent-length: 2\\r\\n\\r\\nhi", 34)
print(json.dumps([reason, one.__file__.endswith(".py"), same.body(b"x")]))
"""


def source(module: str) -> Path:
    """A module's source."""
    return PACKAGE_FOLDER.parent.joinpath(*module.split(".")).with_suffix(".py")


def write(place: Path, manifest: Manifest) -> None:
    """Put a manifest into the compiled folder under `place`."""
    (place / PACKAGE / MANIFEST).write_bytes(msgspec.json.encode(manifest))


def used(place: Path, environ: dict[str, str] | None = None) -> list[object]:
    """What a new process says: why plain Python, whether it is, and what the code does."""
    run = subprocess.run(
        [sys.executable, "-P", "-c", USE, str(place), json.dumps(environ or {})],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    answer = json.loads(run.stdout)
    assert isinstance(answer, list)
    return answer


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with files of the right names, and a manifest they match."""
    folder = tmp_path / PACKAGE
    folder.mkdir()
    files = {}
    for module in (LIBRARY, *MODULES):
        data = f"no machine code of {module}".encode()
        (folder / file_of(module)).write_bytes(data)
        files[file_of(module)] = hashlib.sha256(data).hexdigest()
    sources = compiled.sources_digest(PACKAGE_FOLDER)
    write(tmp_path, Manifest(compiled.python_identity(), sources, files))
    return tmp_path


def manifest_of(place: Path) -> Manifest:
    """The manifest there."""
    return msgspec.json.decode((place / PACKAGE / MANIFEST).read_bytes(), type=Manifest)


def test_what_matches_its_manifest_is_fit(place: Path) -> None:
    """Python, sources and files are as they were when it was compiled."""
    assert compiled.unfit({}, [str(place)]) is None


def test_without_the_folder_plain_python_runs(tmp_path: Path) -> None:
    """As on a machine without a compiler."""
    assert used(tmp_path) == ["nothing is compiled", True, None]


def test_a_variable_asks_for_plain_python(place: Path) -> None:
    """To debug, or to rule compiled code out."""
    assert used(place, {"FLM_PURE": "1"}) == ["FLM_PURE is set", True, None]


def test_code_for_another_python_is_not_loaded(place: Path) -> None:
    """After an upgrade of Python, until it is compiled again."""
    write(place, msgspec.structs.replace(manifest_of(place), python="3.99"))
    assert used(place) == ["what is compiled is for another Python", True, None]


def test_a_source_that_has_changed_counts(place: Path, tmp_path: Path) -> None:
    """Also one that is only imported by those that are compiled: its types count."""
    package = tmp_path / "flm"
    shutil.copytree(PACKAGE_FOLDER, package, ignore=shutil.ignore_patterns("__pycache__"))
    assert compiled.unfit({}, [str(place)], package) is None
    for name in ("gateway/desk.py", "domain/keys.py", "errors.py", "wire/new.py"):
        source = package / name
        before = source.read_bytes() if source.exists() else None
        source.write_bytes((before or b"") + b"\n")
        assert compiled.unfit({}, [str(place)], package) == (
            "the sources have changed since they were compiled"
        )
        if before is None:
            source.unlink()
        else:
            source.write_bytes(before)
    (package / "cli" / "up.py").unlink()
    assert compiled.unfit({}, [str(place)], package) is None


def test_a_damaged_file_is_not_loaded(place: Path) -> None:
    """Cut short by a full disk, or replaced."""
    file = file_of("flm.gateway.desk")
    (place / PACKAGE / file).write_bytes(b"")
    assert used(place) == [f"{file} is damaged", True, None]


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"python": 3}'])
def test_a_damaged_manifest_is_not_believed(place: Path, damage: bytes) -> None:
    """Nor one that is gone."""
    (place / PACKAGE / MANIFEST).write_bytes(damage)
    assert "cannot be read" in str(used(place)[0])
    (place / PACKAGE / MANIFEST).unlink()
    assert "cannot be read" in str(used(place)[0])


def test_what_does_not_load_leaves_plain_python(place: Path) -> None:
    """The files are what the manifest says, and the system's loader refuses them."""
    reason, plain, body = used(place)
    assert str(reason).startswith("what is compiled does not load: ")
    assert (plain, body) == (True, None)


def test_modules_that_were_imported_before_are_left_alone(place: Path) -> None:
    """The first of them says so; this process has imported none of the compiled ones."""
    code = (
        "import sys, flm.gateway.same_head\nfrom flm import compiled\n"
        "print(compiled.use({}, [sys.argv[1]]))"
    )
    run = subprocess.run(
        [sys.executable, "-P", "-c", code, str(place)],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert run.stdout == "flm.gateway.same_head was imported before\n"


def test_every_compiled_module_has_a_source() -> None:
    """The list names modules of the rooms whose sources are compared."""
    assert [name for name in MODULES if not source(name).is_file()] == []
    assert {name.split(".")[1] for name in MODULES} <= set(compiled.READ)


def test_compiled_modules_hold_no_structs() -> None:
    """mypyc keeps no `Annotated` for msgspec: ranges would not be checked."""
    assert [
        f"{name}: {node.name}"
        for name in MODULES
        for node in ast.walk(ast.parse(source(name).read_text("utf-8")))
        if isinstance(node, ast.ClassDef)
        and any("Struct" in ast.unparse(base) for base in node.bases)
    ] == []


def test_compiled_modules_slice_nothing_backwards() -> None:
    """mypyc 2.4 raises SystemError for bytes whose second bound is the smaller one."""
    assert {
        ast.unparse(node)
        for name in MODULES
        for node in ast.walk(ast.parse(source(name).read_text("utf-8")))
        if isinstance(node, ast.Subscript)
        and isinstance(node.slice, ast.Slice)
        and node.slice.lower is not None
        and node.slice.upper is not None
    } == REVIEWED_SLICES
