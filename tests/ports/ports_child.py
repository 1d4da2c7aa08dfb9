"""A child as FLM starts them: hardens itself, says so, and lives until its stdin ends.

`ports_child.py PARENT [grandchild]` prints `hard` (or `orphan`), and a grandchild's pid.
"""

from __future__ import annotations

import subprocess
import sys

from flm.ports.processes import current

hard = current().harden_child(int(sys.argv[1]))
print("hard" if hard else "orphan", flush=True)
if "grandchild" in sys.argv:
    program = [sys.executable, "-c", "import time; time.sleep(600)"]
    print(subprocess.Popen(program, stdin=subprocess.DEVNULL).pid, flush=True)
sys.stdin.read()
