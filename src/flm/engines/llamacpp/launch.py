"""llama.cpp's server on loopback, with a key of its own; its router where no model is named."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

from flm.domain.engines import Address
from flm.engines.arguments import CHOSEN, ELSEWHERE, HOST, SECRET, Rules, checked, unmanaged
from flm.ports.engines import Installation, LaunchPlan

READY_SECONDS = 600.0
"""Reading a large model from a slow disk takes minutes, fetching one longer."""

RULES = Rules(
    places=frozenset({"--host"}),
    refused={
        "--port": CHOSEN,
        "--api-key": SECRET,
        "--api-key-file": ELSEWHERE,
        "--api-prefix": ELSEWHERE,
        "--ssl-key-file": ELSEWHERE,
        "--ssl-cert-file": ELSEWHERE,
    },
)


class LlamaCppStarter:
    """Implements `flm.ports.engines.Starter`."""

    def check(self, arguments: Sequence[str]) -> None:
        """Raises `InvalidValue` for what would open it."""
        checked(arguments, RULES)

    def plan(
        self, installation: Installation, arguments: Sequence[str], port: int, token: str
    ) -> LaunchPlan:
        """`-m FILE` or `-hf REPO` in `arguments` serves one model; without, the router serves
        those it finds. The unified program `llama` has the server as a command."""
        program = unmanaged(installation, "engines.llamacpp.path")
        serve = ("serve",) if PurePath(program).stem.lower() == "llama" else ()
        given = checked(arguments, RULES)
        return LaunchPlan(
            arguments=(
                program, *serve, *given,
                "--host", HOST, "--port", str(port), "--no-webui", "--metrics",
            ),
            address=Address(HOST, port),
            environment={"LLAMA_API_KEY": token},
            key=token,
            ready_seconds=READY_SECONDS,
        )  # fmt: skip
