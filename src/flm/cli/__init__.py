"""The command line: `flm`, and `flm-gateway`, which is the same."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command in `sys.argv` and leave with its exit code."""
    from flm.cli.entry import run
    from flm.settings import environment

    sys.exit(run(sys.argv[1:], environment()))
