"""Telling what is served, and with which key: of this process's start, or of what runs already."""

from __future__ import annotations

import contextlib
import shutil
import sys
import threading
from typing import TYPE_CHECKING

from flm.cli import failures, output, welcome
from flm.cli.session import Session
from flm.errors import FlmError
from flm.wire.control import Status

if TYPE_CHECKING:
    from flm.app import FirstKey, Services
    from flm.domain.keys import ApiKey

KEY_LABEL = "flm up"


def tell(
    session: Session, status: Status, first: FirstKey | None, *, new_key: bool, here: bool
) -> None:
    """Say what is served; a key is made when one is wanted, or when none can be used.

    ``here``: whether this process serves it. Raises what making the key raises.
    """
    with session.services() as services:
        serving = _serving(services, status, first, new_key)._replace(here=here)
    if session.json:
        session.document(welcome.document(serving))
        return
    python3 = shutil.which("python3", path=session.environ.get("PATH", ""))
    shell = welcome.shell(sys.platform, sys.executable, python3, session.environ)
    session.write(welcome.text(session.words, serving, shell))


class Greeting:
    """Tells it once requests are answered, from a thread of its own.

    The controller's loop must not wait for a terminal that takes nothing, and a key is made the
    way every command makes one: in the store, then by asking this very controller to apply it.
    """

    def __init__(self, session: Session, new_key: bool) -> None:
        self._session = session
        self._new_key = new_key
        self.begun = False

    def begin(self, status: Status, first: FirstKey | None) -> None:
        """Requests are answered."""
        self.begun = True
        threading.Thread(
            target=self._tell, args=(status, first), name="greeting", daemon=True
        ).start()

    def _tell(self, status: Status, first: FirstKey | None) -> None:
        session = self._session
        try:
            tell(session, status, first, new_key=self._new_key, here=True)
        except FlmError as error:
            failures.show(session, failures.of_error(session, error))
        except BrokenPipeError:
            output.discard_output()  # whoever read our words has gone; serving goes on
        except Exception as error:  # noqa: BLE001 - a thread's edge: a sentence, and serving goes on
            failures.show(session, failures.of_unexpected(session, error))

    def forget_unshown(self, began: float) -> None:
        """A start that failed may have made a key that nobody was shown: it must not stay.

        ``began``: when the start did, in UTC seconds. Never raises: the failure itself is told.
        """
        if self.begun:
            return
        from flm.app import FIRST_KEY_LABEL

        with contextlib.suppress(FlmError), self._session.services() as services:
            for key in _usable(services):
                if key.label == FIRST_KEY_LABEL and key.created_at >= began:
                    services.keys.revoke(key.id)


def _serving(
    services: Services, status: Status, first: FirstKey | None, new_key: bool
) -> welcome.Serving:
    usable = _usable(services)
    clear: str | None = None
    if first is not None:
        key_id, clear = first
    elif new_key or not usable:
        made, clear = services.keys.create(KEY_LABEL)
        key_id = made.id
    else:
        key_id = usable[-1].id
    return welcome.Serving(
        base_url=status.handles[0].base_url,
        root_url=status.handles[0].root_url,
        api_key=clear,
        key_id=key_id,
        pid=status.pid,
        engines=status.engines,
        models=status.models,
        demo=status.demo,
        here=True,
    )


def _usable(services: Services) -> list[ApiKey]:
    now = services.clock.now()
    return [key for key in services.keys.all() if key.state(now) == "active"]
