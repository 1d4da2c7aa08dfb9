"""`ollama serve` on loopback. It takes no arguments: what it can be told are variables."""

from __future__ import annotations

import re
from collections.abc import Sequence

from flm.domain.engines import Address
from flm.engines.arguments import HOST, OPENS, unmanaged
from flm.errors import N_, InvalidValue
from flm.ports.engines import Installation, LaunchPlan

READY_SECONDS = 30.0

_VARIABLE = re.compile(r"(OLLAMA_[A-Z0-9_]+)=(.*)", re.DOTALL)


class OllamaStarter:
    """Implements `flm.ports.engines.Starter`. Ollama knows no key on this machine."""

    def check(self, arguments: Sequence[str]) -> None:
        """Raises `InvalidValue` for what is none of its variables, or would open it."""
        _variables(arguments)

    def plan(
        self, installation: Installation, arguments: Sequence[str], port: int, token: str
    ) -> LaunchPlan:
        """Its models come with the first requests; `OLLAMA_…=…` in `arguments` become variables."""
        del token
        program = unmanaged(installation, "engines.ollama.path")
        return LaunchPlan(
            arguments=(program, "serve"),
            address=Address(HOST, port),
            environment={**_variables(arguments), "OLLAMA_HOST": f"{HOST}:{port}"},
            ready_seconds=READY_SECONDS,
        )


def _variables(arguments: Sequence[str]) -> dict[str, str]:
    given: dict[str, str] = {}
    for word in arguments:
        match = _VARIABLE.fullmatch(word)
        if match is None:
            raise InvalidValue(
                N_("`ollama serve` does not know the argument {word}."),
                remedy=N_("It is told by variables: `flm engines start ollama -- "
                          "OLLAMA_NUM_PARALLEL=4`."),
                word=word,
            )  # fmt: skip
        name, value = match.groups()
        if name == "OLLAMA_HOST" or (name == "OLLAMA_ORIGINS" and "*" in value):
            raise InvalidValue(OPENS, remedy=N_("Leave it out."), flag=word)
        given[name] = value
    return given
