"""What every test stands on: a machine of its own, no silent skips, nothing left running.

`FLM_TEST_NO_SKIPS=1` turns each skip into a failure: CI sets it, so that a test which needs
something that is missing cannot pass by not running. `FLM_TEST_COMPILED=1` runs the gateway's
modules as `make compile` made them, in the tests' own process and in those they start; without
it all of them run as plain Python.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from flm import compiled

COMPILED = os.environ.get("FLM_TEST_COMPILED", "") not in ("", "0")
if COMPILED:
    reason = compiled.use({})
    if reason is not None:
        pytest.exit(f"FLM_TEST_COMPILED is set, but {reason}: run make compile", 4)

NO_SKIPS = os.environ.get("FLM_TEST_NO_SKIPS", "") not in ("", "0")

RUN_MARK = "PYTEST_RUN_OF_FLM"
"""A variable that every process started by this run inherits, and no other process has."""

FOREIGN_VARIABLES = (
    *("OLLAMA_HOST", "VLLM_HOST", "VLLM_PORT", "LLAMA_CPP_PORT"),
    *("OPENAI_API_KEY", "OPENAI_BASE_URL"),
    *("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"),
)
"""What a developer may have set for engines, SDKs and proxies of their own."""


def forbid_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn a skip into a failure that says what was missing; expected failures stay."""
    if report.outcome != "skipped" or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    report.outcome = "failed"
    report.longrepr = f"{reason}\n(FLM_TEST_NO_SKIPS is set: a skip is a failure)"


if NO_SKIPS:

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(item, call):
        """Judge the report of one phase of one test."""
        report = yield
        forbid_skip(report)
        return report

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(collector):
        """Judge a whole file that was skipped while it was collected."""
        report = yield
        forbid_skip(report)
        return report


if COMPILED:

    def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
        """Leave out what its marker says is no business of compiled code."""
        plain = [item for item in items if item.get_closest_marker("plain") is not None]
        config.hook.pytest_deselected(items=plain)
        items[:] = [item for item in items if item not in plain]


@pytest.fixture(scope="session", autouse=True)
def machine_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Neither this machine's settings nor its data reach a test, nor the other way round."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("FLM_")]:
            patch.delenv(name)
        for name in FOREIGN_VARIABLES:
            patch.delenv(name, raising=False)
        for name, folder in (
            ("HOME", home),
            ("USERPROFILE", home),
            ("XDG_DATA_HOME", home / "data"),
            ("XDG_CONFIG_HOME", home / "config"),
            ("XDG_CACHE_HOME", home / "cache"),
            ("XDG_STATE_HOME", home / "state"),
        ):
            patch.setenv(name, str(folder))
        patch.setenv("LANG", "C.UTF-8")
        if not COMPILED:
            patch.setenv(compiled.PURE, "1")
        patch.setenv(RUN_MARK, str(os.getpid()))
        yield


@pytest.fixture(scope="session", autouse=True)
def nothing_left_running(
    machine_of_its_own: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Whatever the tests started has ended 5 s after the last of them, or the run fails."""
    yield
    base = tmp_path_factory.getbasetemp()
    deadline = time.monotonic() + 5
    while (left := started_by_this_run(base)) and time.monotonic() < deadline:
        psutil.wait_procs(left, timeout=0.1)
    described = [f"{process.pid}: {' '.join(process.info['cmdline'] or ())}" for process in left]
    for process in left:
        process.kill()
    assert not described, "left running by the tests:\n" + "\n".join(described)


def started_by_this_run(base: Path) -> list[psutil.Process]:
    """The living processes, other than this one, that carry this run's mark or its folder."""
    found = []
    for process in psutil.process_iter(["pid", "status", "cmdline", "environ"]):
        info = process.info
        if info["pid"] == os.getpid() or info["status"] == psutil.STATUS_ZOMBIE:
            continue
        marked = (info["environ"] or {}).get(RUN_MARK) == str(os.getpid())
        if marked or str(base) in " ".join(info["cmdline"] or ()):
            found.append(process)
    return found
