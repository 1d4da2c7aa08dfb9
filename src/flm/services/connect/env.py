"""Plain environment variables, for every program that goes by its SDK's own.

openai-python and -node read `OPENAI_BASE_URL`, Anthropic's SDKs `ANTHROPIC_BASE_URL` (without
`/v1`), Ollama's clients `OLLAMA_HOST` and `OLLAMA_API_KEY`.
"""

from __future__ import annotations

from flm.errors import N_
from flm.services.connect.shells import assigned, copied, shell_of
from flm.services.connect.situation import Facts, Settings, Situation, note


class Env:
    """This shell, and what is started from it."""

    facts = Facts("env", "env", "models", needs=0, keeps_key=False, variable=True, writes=False)

    def settings(self, situation: Situation) -> Settings:
        """The key is taken from `FLM_API_KEY`, so that it stands in one line only."""
        shell = shell_of(situation.platform, situation.environ)
        return Settings(
            lines=(
                assigned(shell, "OPENAI_BASE_URL", situation.base_url),
                copied(shell, "OPENAI_API_KEY"),
                assigned(shell, "ANTHROPIC_BASE_URL", situation.root_url),
                copied(shell, "ANTHROPIC_AUTH_TOKEN"),
                assigned(shell, "OLLAMA_HOST", situation.root_url),
                copied(shell, "OLLAMA_API_KEY"),
            ),
            notes=(
                note(
                    "ollama_host",
                    N_("OLLAMA_HOST also says where `ollama serve` listens: do not start it from "
                       "this shell."),
                ),
            ),
        )  # fmt: skip
