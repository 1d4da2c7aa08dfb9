"""Who runs a program that lies in a folder."""

from __future__ import annotations

from pathlib import Path


def running_from(folder: Path) -> tuple[int, ...]:
    """The processes, as far as this user may look, whose program lies below `folder`."""
    import psutil

    root = folder.resolve()
    found = []
    for process in psutil.process_iter(["exe"]):
        program = process.info["exe"]
        if program and Path(program).is_relative_to(root):
            found.append(process.pid)
    return tuple(found)
