"""Runs all tests, where it can in two halves side by side: one core waits for no other.

    .venv/bin/python scripts/tests.py [PYTEST_OPTION …]

The end-to-end tests look for engines on the machine, and would find the fakes of the other half.
So they get a network of their own, where the system allows one (`unshare --net`, as root); where
it does not, all tests run one after the other. What pytest is told by name (a folder, a file) is
run by it alone, as it is.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

APART = ("tests/e2e", "tests/control", "tests/cli/test_cli_up.py", "tests/test_readme.py")
"""What runs beside the rest, in a network of its own: about half of the time of all."""

OWN_NETWORK = ("unshare", "--net")
LOOPBACK_UP = """
import fcntl, os, socket, struct, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
    fcntl.ioctl(one, 0x8914, struct.pack("16sh14x", b"lo", 0x1 | 0x40))
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Brings the loopback of a new network up (SIOCSIFFLAGS: IFF_UP, IFF_RUNNING), then is pytest."""

_COUNT = re.compile(r"(\d+) ([a-z]+)")
_CLOSING = re.compile(r"^=* ?(?:\d+ [a-z]+, )*\d+ [a-z]+ in [0-9.]+s", re.MULTILINE)
NOTHING = 5
"""pytest's exit code when it found no test."""


def main(options: Sequence[str]) -> int:
    """Run them; the worst exit code."""
    pytest = [sys.executable, "-m", "pytest", *options]
    roots, halved = halves()
    if any(not option.startswith("-") for option in options):
        return subprocess.run(pytest, check=False).returncode
    if not can_be_apart():
        return subprocess.run([*pytest, *roots], check=False).returncode
    began = time.monotonic()
    with tempfile.TemporaryFile("w+") as log:
        kept = ["-o", "cache_dir=.pytest_cache/apart"]
        command = [*OWN_NETWORK, sys.executable, "-c", LOOPBACK_UP, *pytest, *kept, *halved]
        apart = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            rest = [*pytest, *roots, *(f"--ignore={path}" for path in halved)]
            with subprocess.Popen(rest, stdout=subprocess.PIPE, text=True) as running:
                assert running.stdout is not None
                said = [echo(line) for line in running.stdout]
            codes = [running.returncode, apart.wait()]
        finally:
            apart.kill()
            apart.wait()
        log.seek(0)
        print(f"\n{', '.join(halved)}:")
        said += [echo(line) for line in log]
    print(summary("".join(said), time.monotonic() - began))
    return max((code for code in codes if code != NOTHING), default=0)


def halves() -> tuple[Sequence[str], Sequence[str]]:
    """What is run, () for all there is, and what of that runs apart.

    With `FLM_TEST_COMPILED` the compiled gateway's tests are: every other file of them apart.
    """
    if not os.environ.get("FLM_TEST_COMPILED"):
        return (), APART
    files = sorted(str(path) for path in Path("tests/gateway").glob("test_*.py"))
    return ("tests/test_compiled.py", "tests/gateway"), files[::2]


def can_be_apart() -> bool:
    """Whether this system gives us a network of our own."""
    command = [*OWN_NETWORK, sys.executable, "-c", LOOPBACK_UP, sys.executable, "-c", ""]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def echo(line: str) -> str:
    """Show a line at once, and keep it."""
    sys.stdout.write(line)
    sys.stdout.flush()
    return line


def summary(said: str, seconds: float) -> str:
    """Both closing lines in one, as pytest writes them."""
    counts: Counter[str] = Counter()
    for closing in _CLOSING.findall(said):
        for number, what in _COUNT.findall(closing.rpartition(" in ")[0]):
            counts[what] += int(number)
    told = ", ".join(f"{number} {what}" for what, number in counts.items())
    return f"{told or 'no tests ran'} in {seconds:.2f}s"


if __name__ == "__main__":
    os.chdir(Path(__file__).resolve().parent.parent)
    sys.exit(main(sys.argv[1:]))
