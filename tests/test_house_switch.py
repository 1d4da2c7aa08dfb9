"""The switch that forbids skips, and the watch over what tests leave running."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent

SKIPPED = "import pytest\n\ndef test_it():\n    pytest.skip('needs nginx: apt install nginx')\n"
SKIPPED_FILE = (
    "import pytest\n\npytest.importorskip('no_such_module')\n\ndef test_it():\n    pass\n"
)
EXPECTED_TO_FAIL = "import pytest\n\n@pytest.mark.xfail\ndef test_it():\n    assert False\n"
LEFT_RUNNING = (
    "import subprocess, sys\n\ndef test_it():\n"
    "    subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
)


def run(folder: Path, test: str, no_skips: str) -> subprocess.CompletedProcess[str]:
    """Run one test file under the real conftest, in a process of its own."""
    (folder / "conftest.py").write_text((HERE / "conftest.py").read_text("utf-8"), "utf-8")
    (folder / "test_one.py").write_text(test, "utf-8")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)],
        check=False,
        cwd=folder,
        env={**os.environ, "FLM_TEST_NO_SKIPS": no_skips},
        capture_output=True,
        text=True,
    )


def test_a_skip_is_a_skip_without_the_switch(tmp_path: Path) -> None:
    """A developer without nginx still has a green run, and reads what to install."""
    result = run(tmp_path, SKIPPED, "")
    assert (result.returncode, "1 skipped" in result.stdout) == (0, True)


@pytest.mark.parametrize("test", [SKIPPED, SKIPPED_FILE])
def test_a_skip_is_a_failure_with_the_switch(tmp_path: Path, test: str) -> None:
    """CI cannot pass by not running a test, nor by not collecting a file."""
    result = run(tmp_path, test, "1")
    assert result.returncode != 0
    assert "a skip is a failure" in result.stdout


def test_an_expected_failure_stays_one_with_the_switch(tmp_path: Path) -> None:
    """The switch is about what did not run."""
    result = run(tmp_path, EXPECTED_TO_FAIL, "1")
    assert (result.returncode, "1 xfailed" in result.stdout) == (0, True)


def test_a_process_left_behind_fails_the_run_and_is_ended(tmp_path: Path) -> None:
    """Whatever a test starts has an owner that ends it."""
    result = run(tmp_path, LEFT_RUNNING, "")
    assert result.returncode != 0
    assert "left running by the tests" in result.stdout
