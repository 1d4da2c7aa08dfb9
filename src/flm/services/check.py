"""`flm check`: whether everything is as it should be. Changes nothing.

One area after the other, so that what is wrong in one hides nothing in the next: a damaged
database, a controller that hangs and files of another user are findings, not failures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Protocol

import msgspec

from flm.domain.engines import Engine, Finding
from flm.errors import FlmError
from flm.paths import DataPaths
from flm.ports.integrity import Inspection, Stored
from flm.services.check_databases import database_findings
from flm.services.check_engines import engine_findings
from flm.services.check_files import file_findings, never_used
from flm.services.check_journal import JournalCheck
from flm.services.check_process import process_findings
from flm.services.check_secrets import Sealed, secret_findings
from flm.services.exposure import keyless
from flm.wire.control import Status

AreaName = Literal["process", "files", "databases", "secrets", "access", "journal", "engines"]


class Area(msgspec.Struct, frozen=True):
    """One thing that was looked at, and what was found; nothing: it is as it should be."""

    name: AreaName
    findings: tuple[Finding, ...]


class Report(msgspec.Struct, frozen=True):
    """All of it."""

    areas: tuple[Area, ...]

    @property
    def fine(self) -> bool:
        """Whether nothing is worse than a note."""
        return all(finding.level == "note" for area in self.areas for finding in area.findings)


class Asked(Protocol):
    """Who knows what runs."""

    def status(self) -> Status | None:
        """What the controller says. Raises when it does not answer."""
        ...


class CheckService:
    """Looks at everything once.

    ``inspect`` looks at the databases, told whether a controller has them open; ``look`` finds
    the engines when nothing runs that could tell; ``opens``: whether a sealed secret can be
    opened with the master key that is there; ``locked``: whether somebody holds that lock.
    """

    def __init__(
        self,
        paths: DataPaths,
        version: str,
        proxies: Asked,
        inspect: Callable[[bool], Inspection],
        look: Callable[[Stored], Sequence[Engine]],
        opens: Callable[[Sealed], bool],
        journal: JournalCheck,
    ) -> None:
        self._paths = paths
        self._version = version
        self._proxies = proxies
        self._inspect = inspect
        self._look = look
        self._opens = opens
        self._journal = journal

    def run(self) -> Report:
        """Look at everything. Never raises for what it finds."""
        if not self._paths.root.exists():
            return Report((Area("files", (never_used(self._paths),)),))
        status, failure = self._status()
        live = status is not None or failure is not None
        inspection = self._inspect(live)
        databases = inspection.databases()
        stored = inspection.stored()
        return Report(
            (
                Area("process", process_findings(status, failure, self._version)),
                Area("files", file_findings(self._paths)),
                Area("databases", database_findings(databases)),
                Area("secrets", secret_findings(self._paths, stored, self._opens)),
                Area("access", keyless(stored.keys)),
                Area("journal", self._journal.findings(stored.checkpoints, live)),
                Area("engines", engine_findings(self._engines(status, stored))),
            )
        )

    def _status(self) -> tuple[Status | None, FlmError | None]:
        try:
            return self._proxies.status(), None
        except FlmError as error:
            return None, error

    def _engines(self, status: Status | None, stored: Stored) -> Sequence[Engine]:
        """The controller's last word, else a look that nobody remembers."""
        if status is not None and status.state == "started":
            return status.engines
        return self._look(stored)
