"""`flm proxy`: the gateway in the background. What it says is true at every moment."""

from __future__ import annotations

from flm.cli import documents, phrases
from flm.cli.commands import Group, add_to, command, option, pass_session
from flm.cli.flags import Flags, address, agree
from flm.cli.session import Session
from flm.cli.when import local
from flm.errors import N_
from flm.wire.control import Status

proxy = Group(
    "proxy",
    help=N_(
        "The gateway in the background: start, stop, status.\n\n"
        "`flm up` does the same in the foreground; one data directory is served once."
    ),
)


@command("start", help=N_("Start FLM in the background; returns when it answers requests."))
@option("--port", type=int, metavar="PORT", help=N_("The port; 0 takes a free one."))
@option("--bind", metavar="ADDRESS", help=N_("The address: a loopback address."))
@option("--demo", is_flag=True, help=N_("Serve the demo model as well."))
@pass_session
def start(session: Session, port: int | None, bind: str | None, demo: bool) -> None:
    """Start it detached, or tell what runs."""
    flags = Flags(*address(port, bind), demo)
    with session.services() as services:
        before = services.proxies.status()
        status = services.proxies.start_detached(*flags)
    agree(status, flags)
    if session.json:
        session.document(documents.status(status))
        return
    for handle in status.handles:
        session.say(N_("FLM serves {url}"), url=handle.base_url)
        session.say(N_("handle {handle}, process {pid}"), handle=handle.name, pid=status.pid)
    if before is not None:
        session.note(N_("It ran already."))


@command("stop", help=N_("Stop FLM; running answers are let finish first."))
@pass_session
def stop(session: Session) -> None:
    """Stop what runs."""
    with session.services() as services:
        stopped = services.proxies.stop()
    if session.json:
        session.document({"stopped": stopped is not None, "pid": stopped.pid if stopped else None})
    elif stopped is None:
        session.say(N_("Nothing ran."))
    else:
        session.say(N_("FLM (process {pid}) has stopped."), pid=stopped.pid)


@command("status", help=N_("Show what runs. Exit code 0 also when nothing does."))
@pass_session
def status(session: Session) -> None:
    """Show what runs."""
    with session.services() as services:
        told = services.proxies.status()
    if session.json:
        session.document({"running": False} if told is None else documents.status(told))
    elif told is None:
        session.say(N_("Nothing runs. `flm up` starts it, `flm proxy start` in the background."))
    else:
        _show(session, told)


add_to(proxy, start, stop, status)

_STATES = {
    "starting": N_("starting"),
    "started": N_("running"),
    "stopping": N_("stopping"),
}


def _show(session: Session, told: Status) -> None:
    words, gateway = session.words, told.gateway
    rows = [(N_("State"), words(_STATES[told.state]))]
    rows += [(N_("Address"), f"{each.base_url}  ({each.name})") for each in told.handles]
    rows += [
        (N_("Controller"), _process(session, told.pid, told.version)),
        (N_("Gateway"), _gateway(session, told)),
        (N_("Since"), local(told.started_at)),
        (N_("Requests"), f"{gateway.served:,}"),
        (N_("Running now"), f"{gateway.in_flight:,}"),
        (N_("Engines"), phrases.listed([engine.id for engine in told.engines]) or "-"),
        (N_("Models"), phrases.listed([model.name for model in told.models]) or "-"),
    ]
    if gateway.unrecorded:
        rows.append((N_("Not recorded"), f"{gateway.unrecorded:,}"))
    session.facts(rows)


def _process(session: Session, pid: int, version: str) -> str:
    return session.words(N_("process {pid}, version {version}"), pid=pid, version=version)


def _gateway(session: Session, told: Status) -> str:
    gateway = told.gateway
    if gateway.pid is None or not gateway.ready:
        return session.words(N_("not ready; it is being started"))
    text = session.words(N_("process {pid}"), pid=gateway.pid)
    if gateway.restarts:
        text += ", " + session.words.plural(
            "restarted {count} time", "restarted {count} times", gateway.restarts
        )
    return text
