"""Compiles the gateway's busiest modules into an environment, where there is a C compiler.

    .venv/bin/python scripts/compile.py

It never fails: where nothing can be compiled it says why, and FLM runs as plain Python. mypyc
comes from requirements/compile.txt into an environment of its own, beside this one's.
`flm.compiled` says what is compiled and when it is used.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import msgspec

from flm import compiled

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements" / "compile.txt"
ENVIRONMENT = Path(sys.prefix)
UV = ENVIRONMENT / ".uv" / "bin" / "uv"
TOOLS = ENVIRONMENT / ".compile"
PATIENCE = 600
"""Seconds: a machine that needs longer to compile is better off without."""

INSTALL = """\
FLM runs as plain Python: {missing} is missing. Compiled, its gateway is faster by half. Install it,
then run `make compile`:
  Debian, Ubuntu:  sudo apt install gcc python3-dev
  Fedora:          sudo dnf install gcc python3-devel
  macOS:           xcode-select --install"""


class Failed(Exception):
    """Why nothing was compiled."""


def say(text: str) -> None:
    """A line for the person at the terminal."""
    print(text, file=sys.stderr)


def missing() -> str:
    """What of a compiler's needs is not on this machine; "" when all is there."""
    command = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")[0]
    if shutil.which(command) is None:
        return f"a C compiler ({command})"
    header = Path(sysconfig.get_path("include")) / "Python.h"
    return "" if header.is_file() else "Python's header (Python.h)"


def environment() -> dict[str, str]:
    """This process's, as `scripts/environment` has uv work: the machine's certificates count, no
    second Python is downloaded, and the environment that happens to be active decides nothing."""
    ours = {name: value for name, value in os.environ.items() if name not in _ACTIVE}
    return {"UV_SYSTEM_CERTS": "1"} | ours | {"UV_PYTHON_DOWNLOADS": "never"}


_ACTIVE = ("VIRTUAL_ENV", "CONDA_PREFIX")


def run(*command: str | Path) -> None:
    """Run a command in silence; raises `Failed` with its last words."""
    ended = subprocess.run(
        [str(word) for word in command], cwd=ROOT, stdin=subprocess.DEVNULL, timeout=PATIENCE,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, env=environment(),
    )  # fmt: skip
    if ended.returncode:
        lines = ended.stdout.decode("utf-8", "replace").strip().splitlines()
        raise Failed("\n".join(["", *(line[:200] for line in lines[-8:])]))


def install_tools() -> Path:
    """The Python that has mypyc."""
    python = TOOLS / "bin" / "python"
    made_from = TOOLS / ".made-from"
    wanted = f"{sys.version} {hashlib.sha256(LOCK.read_bytes()).hexdigest()}"
    if not made_from.is_file() or made_from.read_text() != wanted:
        run(UV, "venv", "--quiet", "--clear", "--no-project", "--python", sys.executable, TOOLS)
        run(UV, "pip", "install", "--quiet", "--python", python, "--require-hashes", "-r", LOCK)
        made_from.write_text(wanted)
    return python


def build(python: Path, package: Path, place: Path, work: Path) -> None:
    """Compile with that Python, then put the result and its manifest into `place`, at once."""
    manifest_python, digest = compiled.python_identity(), compiled.sources_digest(package)
    sources = [
        package.parent.joinpath(*module.split(".")).with_suffix(".py").relative_to(ROOT)
        for module in compiled.MODULES
    ]
    out = work / "out"
    run(python, ROOT / "scripts" / "extensions.py", sys.executable, work / "build", out,
        compiled.GROUP, *sources)  # fmt: skip
    fresh = place / f".{compiled.PACKAGE}-{os.getpid()}"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    files: dict[str, str] = {}
    for module in (compiled.LIBRARY, *compiled.MODULES):
        name = compiled.file_of(module)
        *packages, leaf = module.split(".")
        data = out.joinpath(*packages, leaf + compiled.SUFFIX).read_bytes()
        (fresh / name).write_bytes(data)
        files[name] = hashlib.sha256(data).hexdigest()
    manifest = compiled.Manifest(manifest_python, digest, files)
    (fresh / compiled.MANIFEST).write_bytes(msgspec.json.encode(manifest))
    shutil.rmtree(place / compiled.PACKAGE, ignore_errors=True)
    fresh.rename(place / compiled.PACKAGE)


def main() -> int:
    """Compile, unless what is there fits, or nothing can be."""
    if os.environ.get(compiled.PURE) or compiled.unfit({}) is None:
        return 0
    lacking = missing()
    if lacking:
        say(INSTALL.format(missing=lacking))
        return 0
    say("Compiling the gateway (about half a minute)")
    try:
        with tempfile.TemporaryDirectory(prefix="flm-compile-") as work:
            package = Path(compiled.__file__).parent
            place = Path(sysconfig.get_path("platlib"))
            build(install_tools(), package, place, Path(work))
    except (Failed, OSError, subprocess.TimeoutExpired) as error:
        say(f"FLM runs as plain Python: its gateway could not be compiled: {error}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
