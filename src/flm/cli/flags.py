"""Whether what runs is what was asked for: a data directory is served once."""

from __future__ import annotations

from typing import NamedTuple

from flm.errors import N_, Conflict
from flm.setting_kinds import LoopbackAddress, Whole
from flm.wire.control import Status


class Flags(NamedTuple):
    """How to serve; None is not given. ``bind`` is in its normal form (`address`)."""

    port: int | None = None
    bind: str | None = None
    demo: bool = False


def address(port: int | None, bind: str | None) -> tuple[int | None, str | None]:
    """The flags in their normal form, refused here rather than by a process started for them."""
    return (
        None if port is None else Whole(0, 65_535).check("--port", port),
        None if bind is None else LoopbackAddress().parse("--bind", bind),
    )


def agree(running: Status, flags: Flags) -> None:
    """Raise `Conflict`, naming the difference, unless `running` has these flags.

    A flag that was not given agrees with everything; port 0 with every port.
    """
    port, bind, demo = flags
    listening = running.handles[0] if running.handles else None
    if listening is not None and port not in (None, 0, listening.port):
        raise _differs(running, "--port", port, listening.port)
    if listening is not None and bind not in (None, listening.host):
        raise _differs(running, "--bind", bind, listening.host)
    if demo and not running.demo:
        raise Conflict(
            N_("FLM runs already (process {pid}), without the demo model."),
            remedy=N_("Stop it with `flm proxy stop` (or Ctrl-C), then start it with --demo."),
            code="already_running",
            pid=running.pid,
        )


def _differs(running: Status, flag: str, wanted: object, found: object) -> Conflict:
    return Conflict(
        N_("FLM runs already (process {pid}) with {flag} {found}, not {wanted}."),
        remedy=N_("Stop it with `flm proxy stop` (or Ctrl-C), or give another --data-dir."),
        code="already_running",
        pid=running.pid,
        flag=flag,
        found=found,
        wanted=wanted,
    )
