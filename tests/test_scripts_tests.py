"""The runner of all tests: what it says at the end, and how it ends."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def runner() -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("runner", ROOT / "scripts" / "tests.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_both_closing_lines_become_one(runner: ModuleType) -> None:
    """Whatever pytest calls it."""
    said = (
        "....\nFAILED x - it was 3 failed in 1 s\n"
        "2 failed, 10 passed, 1 skipped in 3.20s\n"
        "=========== 5 passed, 1 warning in 61.00s (0:01:01) ===========\n"
    )
    assert runner.summary(said, 62.0) == "2 failed, 15 passed, 1 skipped, 1 warning in 62.00s"
    assert runner.summary("", 1.0) == "no tests ran in 1.00s"


def test_every_test_is_in_one_half(runner: ModuleType) -> None:
    """What runs apart is there, and lies among the tests."""
    assert [path for path in runner.APART if not (ROOT / path).exists()] == []
    assert {path.partition("/")[0] for path in runner.APART} == {"tests"}


def test_the_compiled_gateway_s_tests_are_halved_by_files(
    runner: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every other one apart, and no other tests."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("FLM_TEST_COMPILED", "1")
    roots, apart = runner.halves()
    files = list((ROOT / "tests" / "gateway").glob("test_*.py"))
    assert roots == ("tests/test_compiled.py", "tests/gateway")
    assert len(apart) == (len(files) + 1) // 2


def test_what_is_named_is_run_alone_and_its_exit_code_is_kept(
    runner: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One file, here of somebody else's."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "test_one.py").write_text("def test_no():\n    assert False\n")
    assert runner.main(["-p", "no:cacheprovider", "test_one.py"]) == 1
    (tmp_path / "test_one.py").write_text("def test_yes():\n    assert True\n")
    assert runner.main(["-p", "no:cacheprovider", "test_one.py"]) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="networks of one's own are Linux's")
def test_the_halves_end_with_the_worse_code(
    runner: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: object
) -> None:
    """A failure on either side is a failure."""
    if not runner.can_be_apart():
        monkeypatch.setattr(runner, "OWN_NETWORK", ())
        monkeypatch.setattr(
            runner, "LOOPBACK_UP", "import os, sys; os.execv(sys.argv[1], sys.argv[1:])"
        )
    monkeypatch.setattr(runner, "APART", ("apart",))
    monkeypatch.delenv("FLM_TEST_COMPILED", raising=False)
    monkeypatch.chdir(tmp_path)
    for name, verdict in (("apart", "False"), ("rest", "True")):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"test_{name}.py").write_text(f"def test_it():\n    assert {verdict}\n")
    assert runner.main(["-q"]) == 1
    (tmp_path / "apart" / "test_apart.py").write_text("def test_it():\n    assert True\n")
    assert runner.main(["-q"]) == 0
