"""`flm up`: find the engines, serve them, and say how to use what is served."""

from __future__ import annotations

import logging
import shutil
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from flm.cli import failures, offer, output, welcome
from flm.cli.commands import command, option, pass_session
from flm.cli.flags import address, agree
from flm.cli.namesake import other_flm
from flm.cli.session import Session
from flm.errors import N_, FlmError
from flm.wire.control import Status

if TYPE_CHECKING:
    from flm.app import FirstKey, Services
    from flm.domain.keys import ApiKey
    from flm.setting_kinds import Value

KEY_LABEL = "flm up"
LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"
START_SECONDS = 60.0


@command(
    "up",
    help=N_(
        "Find the engines of this machine and serve them as one OpenAI-compatible API.\n\n"
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
    port, bind = address(port, bind)
    _warn_of_namesake(session)
    with session.services() as services:
        running = services.proxies.status()
        if running is not None and running.state == "starting":
            running = services.proxies.status(wait=START_SECONDS)
        if running is not None and running.state == "started":
            agree(running, port, bind, demo)
            _show(session, _serving(services, running, None, new_key)._replace(here=False))
            return
        demo = demo or (not session.json and offer.wanted(session, services))
    _serve(session, port, bind, demo, new_key)


def _serve(session: Session, port: int | None, bind: str | None, demo: bool, new_key: bool) -> None:
    """Be the controller until asked to stop."""
    from flm.app import RunOptions, run_foreground

    overrides: dict[str, Value] = {}
    if port is not None:
        overrides["server.port"] = port
    if bind is not None:
        overrides["server.bind"] = bind
    options = RunOptions(
        data_dir=session.data_dir, environ=session.environ, overrides=overrides, demo=demo
    )
    _log_to(session)
    greeting = Greeting(session, new_key)
    began = session.clock.now()
    try:
        run_foreground(options, greeting.begin)
    except FlmError:
        greeting.forget_unshown(began)
        raise
    if greeting.shown and not session.json:
        session.note(N_("FLM has stopped."))


class Greeting:
    """Tells what is served once it is, from a thread of its own.

    The controller's loop must not wait for a terminal that takes nothing, and a key is made the
    way every command makes one: in the store, then by asking this very controller to apply it.
    """

    def __init__(self, session: Session, new_key: bool) -> None:
        self._session = session
        self._new_key = new_key
        self.shown = False

    def begin(self, status: Status, first: FirstKey | None) -> None:
        """Requests are answered."""
        told = threading.Thread(
            target=self._tell, args=(status, first), name="greeting", daemon=True
        )
        told.start()

    def _tell(self, status: Status, first: FirstKey | None) -> None:
        session = self._session
        try:
            with session.services() as services:
                serving = _serving(services, status, first, self._new_key)
            _show(session, serving)
            self.shown = True
        except FlmError as error:
            failures.show(session, failures.of_error(session, error))
        except OSError:
            output.discard_output()  # whoever read our words has gone; serving goes on

    def forget_unshown(self, began: float) -> None:
        """A start that failed may have made a key that nobody was shown: it must not stay."""
        if self.shown:
            return
        from flm.app import FIRST_KEY_LABEL

        with self._session.services() as services:
            for key in _usable(services, self._session.clock.now()):
                if key.label == FIRST_KEY_LABEL and key.created_at >= began:
                    services.keys.revoke(key.id)


def _serving(
    services: Services, status: Status, first: FirstKey | None, new_key: bool
) -> welcome.Serving:
    """What is served, with a key that is made here when one is wanted or none can be used."""
    listening = status.handles[0]
    clear: str | None = None
    usable = _usable(services, services.clock.now())
    if first is not None:
        key_id: str | None = first.id
        clear = first.clear
    elif new_key or not usable:
        made, clear = services.keys.create(KEY_LABEL)
        key_id = made.id
    else:
        key_id = usable[-1].id
    return welcome.Serving(
        base_url=listening.base_url,
        api_key=clear,
        key_id=key_id,
        pid=status.pid,
        engines=status.engines,
        models=status.models,
        demo=status.demo,
        here=True,
    )


def _usable(services: Services, now: float) -> list[ApiKey]:
    return [key for key in services.keys.all() if key.state(now) == "active"]


def _show(session: Session, serving: welcome.Serving) -> None:
    if session.json:
        session.document(welcome.document(serving))
        return
    python3 = shutil.which("python3", path=session.environ.get("PATH", ""))
    shell = welcome.shell(sys.platform, sys.executable, python3)
    session.write(welcome.text(session.words, serving, shell))


def _warn_of_namesake(session: Session) -> None:
    other = other_flm(session.environ)
    if other is not None:
        session.note(
            N_("Note: `flm` in this shell is another program, {path} (FastFlowLM has one of that "
               "name). `flm-gateway` always means this one."),
            path=other,
        )  # fmt: skip


def _log_to(session: Session) -> None:
    """Everything into controller.log, warnings to stderr as well."""
    from flm.app import open_services
    from flm.paths import make_private, prepare

    paths = open_services(session.data_dir, session.environ).paths
    prepare(paths)
    log: Path = paths.controller_log
    make_private(log)
    everything = logging.FileHandler(log, encoding="utf-8")
    warnings = logging.StreamHandler()
    warnings.setLevel(logging.WARNING)
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT, handlers=[everything, warnings])
