"""Engines on another machine, end to end: FLM in a network that has one (`e2e_elsewhere`)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

_NETWORK = """
set -e
ip link set lo up
ip address add 10.99.0.7/32 dev lo
ip address add 10.99.0.8/32 dev lo
mount --bind "$FLM_TEST_HOSTS" /etc/hosts
exec "$@"
"""
_ALONE = ("unshare", "--map-root-user", "--mount", "--net", "sh", "-c")


def test_engines_on_another_machine(tmp_path: Path) -> None:
    """Each test of `e2e_elsewhere` passes there."""
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 localhost\n10.99.0.7 box.example\n")
    environ = {**os.environ, "FLM_TEST_HOSTS": str(hosts)}
    tools = shutil.which("unshare") and shutil.which("ip")
    tried = tools and subprocess.run(
        [*_ALONE, _NETWORK, "sh", "true"], env=environ, capture_output=True, check=False
    )
    if not tried or tried.returncode:
        pytest.skip(
            "needs a network of its own: apt-get install util-linux iproute2, and the right"
        )
    inside = Path(__file__).with_name("e2e_elsewhere.py")
    pytest_there = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(inside))
    done = subprocess.run(
        [*_ALONE, _NETWORK, "sh", *pytest_there, f"--basetemp={tmp_path / 'there'}"],
        env=environ,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 passed" in done.stdout
