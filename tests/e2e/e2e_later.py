"""A controller whose clock the test owns: `python -P e2e_later.py OFFSET_FILE --data-dir DIR …`.

It is `python -m flm.control` with a wall clock that is ahead by the seconds in OFFSET_FILE; all
else is as it is.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from flm.control.__main__ import main
from flm.ports.clock import SystemClock


def run(offset: Path, arguments: list[str]) -> int:
    """Serve as `flm.control` does."""

    def now() -> float:
        return time.time() + float(offset.read_text())

    SystemClock.now = staticmethod(now)  # type: ignore[method-assign]
    return main(arguments)


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1]), sys.argv[2:]))
