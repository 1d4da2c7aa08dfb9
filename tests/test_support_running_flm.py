"""What the tests watch a started FLM with."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from support.running_flm import Flm, Served, until


@pytest.mark.skipif(sys.platform == "win32", reason="no process waits to be reaped there")
def test_a_child_that_is_just_ending_is_no_embedded_model(tmp_path: Path) -> None:
    """It has no command line any more, and that is no error."""
    with subprocess.Popen(["true"]) as ending:
        until(lambda: psutil.Process(ending.pid).status() == psutil.STATUS_ZOMBIE)
        served = Served(Flm(tmp_path), {"pid": os.getpid()})
        assert served.embedded() == []
