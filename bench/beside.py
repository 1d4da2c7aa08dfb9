"""Work beside a load: every second a log search, a write to the store and a snapshot swap.

Run as a program: `python -m bench.beside DATA_DIR COUNT_FILE`. It calls `flm`'s own command line
in one process, so that what is measured is that work and not the start of interpreters.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import time
from pathlib import Path

from flm.cli.entry import run


def call(data: str, *arguments: str) -> str:
    """One `flm` command; its output. A failure ends the program."""
    output = io.StringIO()
    environment = {**os.environ, "FLM_DATA_DIR": data, "FLM_LANG": "en"}
    with contextlib.redirect_stdout(output):
        code = run([*arguments, "--format", "json"], environment)
    if code:
        sys.exit(f"flm {' '.join(arguments)}: exit {code}")
    return output.getvalue()


def work(data: str, number: int) -> None:
    """A search through the log, a setting written, a key made and revoked (two swaps)."""
    call(data, "logs", "--limit", "100", "--status", "500", "--model", "bench")
    call(data, "config", "set", "logs.keep_days", str(80 + number % 2))
    made = json.loads(call(data, "api-keys", "create", "--label", "beside"))["data"]
    call(data, "api-keys", "revoke", made["id"])


def main(data: str, count: Path) -> None:
    """Work once a second until ended, and say how often it was done."""
    due = time.monotonic()
    number = 0
    while True:
        work(data, number)
        number += 1
        count.write_text(str(number))
        due += 1
        time.sleep(max(0.0, due - time.monotonic()))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
