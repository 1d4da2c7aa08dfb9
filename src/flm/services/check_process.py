"""What `flm check` says of the processes: the controller and its gateway. Pure."""

from __future__ import annotations

from flm.domain.engines import Finding
from flm.errors import N_, FlmError
from flm.wire.control import Status


def process_findings(
    status: Status | None, failure: FlmError | None, version: str
) -> tuple[Finding, ...]:
    """``failure``: why the controller could not be asked; ``version``: of this FLM."""
    if failure is not None:
        return (of_error(failure),)
    if status is None:
        return (
            Finding(
                code="not_running",
                message=N_("Nothing serves this data directory."),
                remedy=N_("Start it with `flm up`, or with `flm proxy start` in the background."),
                level="note",
            ),
        )
    return (*_version(status, version), *_gateway(status))


def of_error(error: FlmError) -> Finding:
    """What was raised, as something found."""
    return Finding(
        code=error.code,
        message=error.template,
        remedy=error.remedy_template,
        values={name: str(value) for name, value in error.values.items()},
        level="error",
    )


def _version(status: Status, version: str) -> tuple[Finding, ...]:
    if status.version == version:
        return ()
    return (
        Finding(
            code="version_mismatch",
            message=N_("FLM {theirs} serves this data directory, this is FLM {ours}."),
            remedy=N_("Stop it with `flm proxy stop` and start it again."),
            values={"theirs": status.version, "ours": version},
            level="error",
        ),
    )


def _gateway(status: Status) -> tuple[Finding, ...]:
    gateway = status.gateway
    found: list[Finding] = []
    if status.state == "started" and not gateway.ready:
        found.append(
            Finding(
                code="gateway_down",
                message=N_("The controller runs, and its gateway does not answer."),
                remedy=N_("It is started again by itself; gateway.log in the data directory says "
                          "why it ended."),
                level="error",
            )
        )  # fmt: skip
    if gateway.restarts:
        found.append(
            Finding(
                code="gateway_restarted",
                message=N_("The gateway ended unasked {count} times since FLM was started."),
                remedy=N_("Look into gateway.log in the data directory."),
                values={"count": str(gateway.restarts)},
                level="warning",
            )
        )
    if gateway.unrecorded:
        found.append(
            Finding(
                code="unrecorded",
                message=N_("{count} requests were served that could not be recorded."),
                remedy=N_("Make room on the disk, or raise journal.max_bytes."),
                values={"count": str(gateway.unrecorded)},
                level="warning",
            )
        )
    return tuple(found)
