"""Another program called `flm` earlier on PATH: FastFlowLM has one."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

_OURS = b"flm.cli"
_HEAD = 4096


def other_flm(environ: Mapping[str, str], own: Path | None = None) -> str | None:
    """The path of what `flm` means in this shell when that is another program than FLM.

    ``own``: the script that runs. Another installation of FLM is no other program.
    """
    found = shutil.which("flm", path=environ.get("PATH", ""))
    if found is None:
        return None
    path = Path(found)
    mine = own or Path(sys.argv[0])
    if _same(path, mine) or _is_ours(path):
        return None
    return found


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def _is_ours(path: Path) -> bool:
    """Installers write a script (on Windows an .exe with one at its end) that imports `flm.cli`."""
    try:
        with path.open("rb") as file:
            start = file.read(_HEAD)
            file.seek(max(path.stat().st_size - _HEAD, 0))
            return _OURS in start or _OURS in file.read(_HEAD)
    except OSError:
        return False
