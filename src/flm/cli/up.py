"""`flm up`: find the engines, serve them, and say how to use what is served."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from flm.cli import offer
from flm.cli.commands import command, option, pass_session
from flm.cli.flags import Flags, address, agree
from flm.cli.greeting import Greeting, tell
from flm.cli.namesake import other_flm
from flm.cli.session import Session
from flm.errors import N_, Conflict, FlmError

if TYPE_CHECKING:
    from flm.setting_kinds import Value

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"
START_SECONDS = 60.0
ALREADY_RUNNING = "already_running"


@command(
    "up",
    help=N_(
        "Find the engines of this machine and serve them as one API.\n\n"
        "Stays in the foreground until Ctrl-C. On first use it makes a key and shows it, this "
        "once. A data directory that is served already is told of, not served twice."
    ),
)
@option("--port", type=int, metavar="PORT", help=N_("The port (8356); 0 takes a free one."))
@option("--bind", metavar="ADDRESS", help=N_("The address (127.0.0.1): a loopback address."))
@option("--demo", is_flag=True, help=N_("Serve a tiny model of random weights as well."))
@option("--new-key", is_flag=True, help=N_("Make another key and show it, this once."))
@pass_session
def up(session: Session, port: int | None, bind: str | None, demo: bool, new_key: bool) -> None:
    """Serve in the foreground, or tell what serves."""
    flags = Flags(*address(port, bind), demo)
    _warn_of_namesake(session)
    if _told(session, flags, new_key):
        return
    if not demo and not session.json:
        with session.services() as services:
            flags = flags._replace(demo=offer.wanted(session, services))
    try:
        _serve(session, flags, new_key)
    except Conflict as error:
        # Another start was faster: between our look and our lock it took the data directory.
        if error.code != ALREADY_RUNNING or not _told(session, flags, new_key):
            raise


def _told(session: Session, flags: Flags, new_key: bool) -> bool:
    """Tell what serves the data directory; whether anything does. Raises if it differs."""
    with session.services() as services:
        running = services.proxies.status()
        if running is not None and running.state == "starting":
            running = services.proxies.status(wait=START_SECONDS)
    if running is None or running.state != "started":
        return False
    agree(running, flags)
    tell(session, running, None, new_key=new_key, here=False)
    return True


def _serve(session: Session, flags: Flags, new_key: bool) -> None:
    """Be the controller until asked to stop."""
    from flm.serving import RunOptions, run_foreground

    overrides: dict[str, Value] = {}
    if flags.port is not None:
        overrides["server.port"] = flags.port
    if flags.bind is not None:
        overrides["server.bind"] = flags.bind
    options = RunOptions(
        data_dir=session.data_dir, environ=session.environ, overrides=overrides, demo=flags.demo
    )
    _log_to(session)
    greeting = Greeting(session, new_key)
    began = session.clock.now()
    try:
        run_foreground(options, greeting.begin)
    except Exception as error:  # raised again: whatever it was, nobody has seen the key
        # When another start was faster, a new key is that one's, and it shows it.
        if not (isinstance(error, FlmError) and error.code == ALREADY_RUNNING):
            greeting.forget_unshown(began)
        raise
    if not session.json:
        session.note(N_("FLM has stopped."))


def _warn_of_namesake(session: Session) -> None:
    other = other_flm(session.environ)
    if other is not None:
        session.note(
            N_("Note: `flm` in this shell is another program, {path} (FastFlowLM has one of that "
               "name). `flm-gateway` always means this one."),
            path=other,
        )  # fmt: skip


def _log_to(session: Session) -> None:
    """Everything into controller.log; warnings to stderr as well, in a line each."""
    from flm.paths import make_private, prepare

    with session.services() as services:
        paths = services.paths
    prepare(paths)
    make_private(paths.controller_log)
    everything = logging.FileHandler(paths.controller_log, encoding="utf-8")
    everything.setFormatter(logging.Formatter(LOG_FORMAT))
    warnings = logging.StreamHandler()
    warnings.setLevel(logging.WARNING)
    warnings.setFormatter(_OneLine(LOG_FORMAT))
    logging.basicConfig(level=logging.INFO, handlers=[everything, warnings])


class _OneLine(logging.Formatter):
    """A record without its traceback, which controller.log has."""

    def format(self, record: logging.LogRecord) -> str:
        """One line for a person."""
        record.message = record.getMessage()
        record.asctime = self.formatTime(record, self.datefmt)
        return self.formatMessage(record)
