"""What `flm check` says of the pepper and the master key."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from flm.domain.engines import EngineDefinition, EngineId, Finding, KnownEngine
from flm.domain.instance import instance_of
from flm.errors import N_
from flm.paths import DataPaths
from flm.ports.integrity import Stored

KEY_BYTES = 32


class Sealed(NamedTuple):
    """A secret at rest, and whose it is."""

    engine: EngineId
    text: bytes


def sealed_in(stored: Stored) -> list[Sealed]:
    """The secrets at rest."""
    engines: list[EngineDefinition | KnownEngine] = [*stored.added, *stored.known]
    return [Sealed(each.id, each.sealed_key) for each in engines if each.sealed_key is not None]


def secret_findings(
    paths: DataPaths, stored: Stored, opens: Callable[[Sealed], bool]
) -> tuple[Finding, ...]:
    """Whether keys can be verified and secrets be opened. ``opens`` is only asked with a master
    key of the right size."""
    return (*_pepper(paths.pepper, stored), *_master_key(paths.master_key, stored, opens))


def _pepper(path: Path, stored: Stored) -> list[Finding]:
    usable = [key for key in stored.keys if key.revoked_at is None]
    found = _file(path, bool(usable), _NO_PEPPER, _NEW_KEYS, len(usable))
    if found or not path.exists() or not usable:
        return found
    instance = instance_of(path.read_bytes())
    strange = [key.id for key in usable if key.instance not in ("", instance)]
    if not strange:
        return []
    return [
        Finding(
            code="pepper_changed",
            message=N_("{path} is not the one {count} keys were made under: they are refused "
                       "({names})."),
            remedy=_NEW_KEYS,
            values={"path": str(path), "count": str(len(strange)), "names": ", ".join(strange[:5])},
            level="error",
        )
    ]  # fmt: skip


_NO_PEPPER = N_("{path} is missing, without which {count} keys cannot be verified.")
_NO_MASTER = N_("{path} is missing, without which the keys of {count} engines cannot be opened.")
_NEW_KEYS = N_(
    "Put the file back from a backup and start FLM again; without it make new keys with "
    "`flm api-keys create`."
)
_SEAL_AGAIN = N_(
    "Put the file back from a backup and start FLM again; without it give the engines' keys again "
    "with `flm engines set-key`."
)


def _master_key(path: Path, stored: Stored, opens: Callable[[Sealed], bool]) -> list[Finding]:
    sealed = sealed_in(stored)
    found = _file(path, bool(sealed), _NO_MASTER, _SEAL_AGAIN, len(sealed))
    if found or not path.exists():
        return found
    closed = [each.engine for each in sealed if not opens(each)]
    if not closed:
        return []
    return [
        Finding(
            code="master_key_changed",
            message=N_("The keys of these engines cannot be opened with {path}: {names}."),
            remedy=_SEAL_AGAIN,
            values={"path": str(path), "names": ", ".join(closed)},
            level="error",
        )
    ]


def _file(path: Path, needed: bool, missing: str, remedy: str, count: int) -> list[Finding]:
    """What is wrong with the file itself."""
    values = {"path": str(path), "count": str(count)}
    if not path.exists():
        if not needed:
            return []
        return [
            Finding(
                code="secret_missing", message=missing, remedy=remedy, values=values, level="error"
            )
        ]
    try:
        size = len(path.read_bytes())
    except OSError as error:
        return [
            Finding(
                code="secret_unreadable",
                message=N_("{path} cannot be read: {why}."),
                remedy=N_("Run the command as the user who runs FLM."),
                values={**values, "why": error.strerror or str(error)},
                level="error",
            )
        ]
    if size == KEY_BYTES:
        return []
    return [
        Finding(
            code="secret_damaged",
            message=N_("{path} is damaged: it must hold {expected} bytes and holds {found}."),
            remedy=remedy,
            values={**values, "expected": str(KEY_BYTES), "found": str(size)},
            level="error",
        )
    ]
