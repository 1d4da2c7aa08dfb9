"""`python -P -m flm.control --data-dir DIR …`: a detached controller; `flm proxy start` starts it.

Whatever goes wrong is told to who waits on the control socket, and in the log, which is stdout.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys

from flm.errors import FlmError
from flm.serving import RunOptions, run_foreground
from flm.setting_kinds import Value
from flm.settings import environment


def main(arguments: list[str]) -> int:
    """Serve until asked to stop; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m flm.control")
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--port", type=int)
    parser.add_argument("--bind")
    parser.add_argument("--demo", action="store_true")
    given = parser.parse_args(arguments)
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format="%(asctime)s controller %(levelname)s %(name)s %(message)s",
    )
    os.chdir("/")  # hold no directory of the user's busy
    overrides: dict[str, Value] = {}
    if given.port is not None:
        overrides["server.port"] = given.port
    if given.bind is not None:
        overrides["server.bind"] = given.bind
    options = RunOptions(
        data_dir=given.data_dir,
        environ=environment(),
        overrides=overrides,
        demo=given.demo,
        foreground=False,
    )
    try:
        run_foreground(options)
    except FlmError as error:
        logging.getLogger("flm.control").critical("%s %s", error.message, error.remedy)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
