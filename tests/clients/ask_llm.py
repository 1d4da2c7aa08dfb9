"""Runs commands of `llm` one after the other and prints what each said, as one JSON list.

A start of `llm` takes two seconds of a processor: its tests have one for all commands.
"""

from __future__ import annotations

import json
import sys

from click.testing import CliRunner
from llm.cli import cli


def main() -> None:
    """``argv[1]``: a JSON list of command lines."""
    said = []
    for argv in json.loads(sys.argv[1]):
        done = CliRunner().invoke(cli, argv)
        if done.exit_code:
            raise SystemExit(f"{argv}: {done.output}") from done.exception
        said.append(done.stdout.removesuffix("\n"))
    print(json.dumps(said))


main()
