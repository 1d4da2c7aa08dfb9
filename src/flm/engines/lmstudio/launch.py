"""LM Studio's server on loopback, started and stopped by `lms`, which itself does not stay."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

from flm.domain.engines import Address
from flm.engines.arguments import CHOSEN, HOST, OPENS, Rules, checked
from flm.errors import N_, NotPermitted
from flm.ports.engines import Installation, LaunchPlan

READY_SECONDS = 90.0
"""`lms` opens LM Studio first where it does not run."""

RULES = Rules(
    places=frozenset({"--bind"}), refused={"--port": CHOSEN, "-p": CHOSEN, "--cors": OPENS}
)


class LmStudioStarter:
    """Implements `flm.ports.engines.Starter`. Its tokens are made in LM Studio only: no key."""

    def check(self, arguments: Sequence[str]) -> None:
        """Raises `InvalidValue` for what would open it."""
        checked(arguments, RULES)

    def plan(
        self, installation: Installation, arguments: Sequence[str], port: int, token: str
    ) -> LaunchPlan:
        """Raises `NotPermitted` where only the app is here: it has to be opened by hand."""
        del token
        program = installation.program
        if PurePath(program).stem.lower() != "lms":
            raise NotPermitted(
                N_("LM Studio is started by its command `lms`, which is not there."),
                remedy=N_("Open LM Studio once, or start its server on its Developer page."),
            )
        given = checked(arguments, RULES)
        return LaunchPlan(
            arguments=(
                program, "server", "start", *given, "--port", str(port), "--bind", HOST
            ),
            address=Address(HOST, port),
            stays=False,
            stop=(program, "server", "stop"),
            ready_seconds=READY_SECONDS,
        )  # fmt: skip
