"""What `flm check` says of the databases. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from flm.domain.engines import Finding
from flm.errors import N_
from flm.ports.integrity import DatabaseState


def database_findings(databases: Sequence[DatabaseState]) -> tuple[Finding, ...]:
    """What is wrong with them. None there at all is a first start, one missing is a loss."""
    if not any(each.there for each in databases):
        return (
            Finding(
                code="no_databases",
                message=N_("There are no databases yet; the first start makes them."),
                level="note",
            ),
        )
    return tuple(finding for each in databases for finding in _one(each))


def _one(state: DatabaseState) -> list[Finding]:
    values = {"path": state.path}
    if not state.there:
        return [
            Finding(
                code="database_missing",
                message=N_("{path} is missing, and what it held with it."),
                remedy=N_("Put it back from a backup; else the next start makes an empty one."),
                values=values,
                level="error",
            )
        ]
    if state.error:
        return [
            Finding(
                code="database_unreadable",
                message=N_("{path} cannot be read: {why}."),
                remedy=_MEND,
                values={**values, "why": state.error},
                level="error",
            )
        ]
    found: list[Finding] = []
    if state.damage:
        found.append(
            Finding(
                code="database_damaged",
                message=N_("{path} is damaged: {why}."),
                remedy=_MEND,
                values={**values, "why": "; ".join(state.damage)},
                level="error",
            )
        )
    return found + _schema(state, values)


_MEND = N_("Stop FLM, put the file back from a backup or move it away, and start again.")


def _schema(state: DatabaseState, values: dict[str, str]) -> list[Finding]:
    told = {**values, "version": state.schema or "-", "expected": state.expected}
    found: list[Finding] = []
    if state.newer:
        found.append(
            Finding(
                code="schema_newer",
                message=N_("{path} was written by a newer version of FLM (its schema is "
                           "{version})."),
                remedy=N_("Install that version of FLM again, or give another data directory."),
                values=told,
                level="error",
            )
        )  # fmt: skip
    elif state.schema != state.expected:
        found.append(
            Finding(
                code="schema_older",
                message=N_("{path} is of an earlier version ({version}); the next start brings it "
                           "to {expected}."),
                values=told,
                level="note",
            )
        )  # fmt: skip
    if not state.revision_kept:
        found.append(
            Finding(
                code="revision_missing",
                message=N_("{path} has lost the row that tells changes: they reach nobody."),
                remedy=_MEND,
                values=values,
                level="error",
            )
        )
    return found
