"""`vllm serve MODEL` on loopback, with a key of its own. Loading takes minutes."""

from __future__ import annotations

from collections.abc import Sequence

from flm.domain.engines import Address
from flm.engines.arguments import CHOSEN, ELSEWHERE, HOST, OPENS, SECRET, Rules, checked, unmanaged
from flm.errors import N_, InvalidValue
from flm.ports.engines import Installation, LaunchPlan

READY_SECONDS = 1800.0
"""It may fetch the model, compile kernels and capture graphs before it answers."""

RULES = Rules(
    places=frozenset({"--host"}),
    refused={
        "--port": CHOSEN,
        "--uds": ELSEWHERE,
        "--root-path": ELSEWHERE,
        "--headless": ELSEWHERE,
        "--ssl-keyfile": ELSEWHERE,
        "--ssl-certfile": ELSEWHERE,
        "--ssl-ca-certs": ELSEWHERE,
        "--api-key": SECRET,
        "--allowed-origins": OPENS,
    },
    abbreviated=True,
)


class VllmStarter:
    """Implements `flm.ports.engines.Starter`."""

    def check(self, arguments: Sequence[str]) -> None:
        """Raises `InvalidValue` for what would open it, or names no model."""
        _given(arguments)

    def plan(
        self, installation: Installation, arguments: Sequence[str], port: int, token: str
    ) -> LaunchPlan:
        """The model comes first in `arguments`. FLM's own flags come last: the last one counts.

        Raises `InvalidValue` when no model is named.
        """
        program = unmanaged(installation, "engines.vllm.path")
        return LaunchPlan(
            arguments=(program, "serve", *_given(arguments), "--host", HOST, "--port", str(port)),
            address=Address(HOST, port),
            environment={"VLLM_API_KEY": token},
            key=token,
            ready_seconds=READY_SECONDS,
        )


def _given(arguments: Sequence[str]) -> tuple[str, ...]:
    """What is passed on. Raises `InvalidValue`."""
    given = checked(arguments, RULES)
    if not given or (given[0].startswith("-") and not _names_model(given)):
        raise InvalidValue(
            N_("vLLM serves one model, and none was named."),
            remedy=N_("Name it first: `flm engines start vllm -- Qwen/Qwen3-8B "
                      "--max-model-len 8192`."),
        )  # fmt: skip
    return given


def _names_model(arguments: Sequence[str]) -> bool:
    """Whether a flag, or a file that a flag names, says which model."""
    return any(word.partition("=")[0] in ("--model", "--config") for word in arguments)
