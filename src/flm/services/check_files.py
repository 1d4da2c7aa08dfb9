"""What `flm check` says of the data directory: whose it is, who may read it, room on the disk."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from flm.domain.engines import Finding
from flm.errors import N_, NotPermitted
from flm.paths import DIRECTORY_MODE, FILE_MODE, DataPaths, check_owner
from flm.services.check_process import of_error

LEAST_FREE = 256 << 20
MOST_NAMED = 5
MOST_FILES = 10_000
"""Files looked at; an engine's folder may hold more than anybody wants to read of."""

OTHERS = 0o077


def never_used(paths: DataPaths) -> Finding:
    """There is no data directory."""
    return Finding(
        code="no_data_directory",
        message=N_("There is no data directory {path} yet; the first start makes it."),
        values={"path": str(paths.root)},
        level="note",
    )


def file_findings(paths: DataPaths) -> tuple[Finding, ...]:
    """What is wrong with the data directory."""
    try:
        check_owner(paths.root)
    except NotPermitted as error:
        return (of_error(error),)
    return (*_readable_by_others(paths), *_unusable(paths), *_room(paths.root))


def _ours(paths: DataPaths) -> Iterator[Path]:
    """What FLM made: neither models nor programs, which are no secrets, nor what else lies in a
    directory that was there before."""
    for path in (paths.config_db, paths.security_db, paths.telemetry_db):
        yield from (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm"))
    yield from (paths.pepper, paths.master_key, paths.controller_lock, paths.controller_log)
    yield from (paths.controller_log.with_name("gateway.log"), paths.connect)
    for folder in paths.folders:
        yield folder
    for folder in (paths.journal, paths.engine_logs):
        for parent, names, files in os.walk(folder):
            yield from (Path(parent, name) for name in (*names, *files))


def _there(paths: DataPaths) -> Iterator[tuple[Path, os.stat_result]]:
    for _, path in zip(range(MOST_FILES), (paths.root, *_ours(paths)), strict=False):
        try:
            yield path, path.stat()
        except FileNotFoundError:
            continue  # never made, or removed just now
        except OSError:
            yield path, os.stat_result((0,) * 10)


def _readable_by_others(paths: DataPaths) -> list[Finding]:
    if os.name == "nt":  # the profile's access list does it
        return []
    found: list[Finding] = []
    for wanted, is_kind in ((DIRECTORY_MODE, stat.S_ISDIR), (FILE_MODE, stat.S_ISREG)):
        loose = [
            path
            for path, state in _there(paths)
            if is_kind(state.st_mode) and stat.S_IMODE(state.st_mode) & OTHERS
        ]
        if loose:
            found.append(_loose(loose, wanted))
    return found


def _loose(paths: list[Path], mode: int) -> Finding:
    return Finding(
        code="readable_by_others",
        message=N_("Other users of this machine have rights on {count} of FLM's files or folders: "
                   "{names}."),
        remedy=N_("Take them away: chmod {mode} {first}"),
        values={
            "count": str(len(paths)),
            "names": _named(paths),
            "mode": f"{mode:o}",
            "first": " ".join(str(path) for path in paths[:MOST_NAMED]),
        },
    )  # fmt: skip


def _unusable(paths: DataPaths) -> list[Finding]:
    closed = [path for path, _ in _there(paths) if not os.access(path, os.R_OK | os.W_OK)]
    closed = [path for path in closed if path.exists()]
    if not closed:
        return []
    return [
        Finding(
            code="not_writable",
            message=N_("FLM may not read and write {names}."),
            remedy=N_("Give them to the user who runs FLM, with chown and chmod."),
            values={"names": _named(closed)},
            level="error",
        )
    ]


def _room(root: Path) -> list[Finding]:
    try:
        free = shutil.disk_usage(root).free
    except OSError:
        return []
    if free >= LEAST_FREE:
        return []
    return [
        Finding(
            code="disk_full",
            message=N_("Only {free} MB are free on the disk of {path}."),
            remedy=N_("Make room: requests go on without it, but cannot be recorded."),
            values={"free": str(free >> 20), "path": str(root)},
        )
    ]


def _named(paths: list[Path]) -> str:
    shown = ", ".join(str(path) for path in paths[:MOST_NAMED])
    return f"{shown}, …" if len(paths) > MOST_NAMED else shown
